//! Providers: their state and last error, and the lanes, which an operator can pause and resume.

import { useState } from "preact/hooks";
import { call, type Schemas } from "../api";
import { now, reload } from "../data";
import { count, duration, percent, plural, span } from "../format";
import { ProviderKeys } from "../provider-keys";
import { providerTone, useProviders, type Lane, type Provider } from "../providers";
import { place, queryOf, setQuery, to } from "../router";
import { Strip } from "../ui/strip";
import {
  Badge,
  Empty,
  Filter,
  FormDialog,
  Page,
  Panel,
  SelectField,
  Show,
  Stat,
  Time,
  toast,
} from "../ui/basic";

const REASONS: Record<string, string> = {
  throttled: "rate-limited by the provider",
  quota_spent: "the provider's quota is spent",
  credential_rejected: "the provider rejects the key",
  forbidden: "the provider forbids the model",
  model_gone: "the provider no longer has the model",
  server_error: "server errors of the provider",
  timed_out: "the provider did not respond in time",
  unreachable: "the provider cannot be reached",
  broken: "responses broke off or were invalid",
  limit_used_up: "the provider's limit is used up",
  daily_limit_used_up: "the daily limit is used up",
  being_tried: "being tried again",
  operator: "paused by an operator",
};

/** The advice for the last error of a provider. */
function advice(error: Schemas["LaneError"]): string | null {
  const by: Record<string, string> = {
    credential_rejected:
      "The provider rejects the gateway's key. Add another key below and test it, then delete this one.",
    quota_spent:
      "The account at the provider has no credit left. Add credit there; calls use other providers meanwhile.",
    throttled:
      "The provider limits the rate. The gateway waits as long as it asks for; a second key or provider helps.",
    unreachable: "No connection to the provider. Check base_url, and the provider's status page.",
    timed_out: "The provider did not respond within the time limits of [timeouts] in gateway.toml.",
    forbidden:
      "The account at the provider may not use this model. Hide the model, or ask the provider for access.",
    model_gone:
      "The provider no longer has this model. Hide it under Models, or name its successor in an alias.",
    server_error: "The provider has a problem of its own. Calls are retried with other candidates.",
    broken:
      "The provider's responses broke off or were invalid. Calls are retried with other candidates.",
  };
  return by[error.class] ?? null;
}

const ErrorBox = ({ error }: { error: Schemas["LaneError"] }) => (
  <div class="last-error">
    <p>
      <Badge tone="bad">{error.status || "no response"}</Badge>{" "}
      <b>{error.class.replaceAll("_", " ")}</b>
      {error.code && (
        <>
          {" · "}
          <code>
            <bdi>{error.code}</bdi>
          </code>
        </>
      )}{" "}
      <span class="muted">
        <Time at={error.at} /> on <bdi>{error.lane}</bdi>
      </span>
    </p>
    <blockquote class="wrap">
      <bdi>{error.message || "The provider sent no message."}</bdi>
    </blockquote>
    {advice(error) && <p class="advice">{advice(error)}</p>}
  </div>
);

function Pause({ id, onClose }: { id: string; onClose: () => void }) {
  const [seconds, setSeconds] = useState("3600");
  return (
    <FormDialog
      title={`Pause ${id}`}
      action="Pause"
      onClose={onClose}
      submit={async () => {
        await call("post", "/v0/lanes/{id}/cooldown", {
          path: { id },
          body: { seconds: Number(seconds) },
        });
        toast(`${id} gets no calls.`, { undo: () => void resume(id) });
        await reload("providers");
      }}
    >
      <p class="wrap">
        No call is sent to <b>{id}</b>, in any isolate, two seconds from now at the latest.{" "}
        {id.includes("/") ? "" : "This is the key with all its models."} Calls use other candidates,
        or fail if there are none.
      </p>
      <SelectField
        label="Pause for"
        value={seconds}
        onValue={setSeconds}
        options={[
          ["600", "10 minutes"],
          ["3600", "an hour"],
          ["86400", "a day"],
          ["2592000", "30 days"],
        ]}
      />
    </FormDialog>
  );
}

async function resume(id: string) {
  try {
    await call("post", "/v0/lanes/{id}/resume", { path: { id } });
    toast(`${id} gets calls again.`);
    await reload("providers");
  } catch (error) {
    toast((error as Error).message, { bad: true });
  }
}

const Cooldown = ({ of }: { of: Lane["cooldown"] }) =>
  of ? (
    <>
      <Badge tone="warn">{of.reason === "operator" ? "Paused" : "Cooldown"}</Badge>{" "}
      <span class="muted">
        {REASONS[of.reason] ?? of.reason}, another {span(Date.parse(of.until) - now.value)}
      </span>
    </>
  ) : (
    <Badge tone="good">Available</Badge>
  );

const Switch = ({
  id,
  cooldown,
  onPause,
}: {
  id: string;
  cooldown: Lane["cooldown"];
  onPause: () => void;
}) =>
  cooldown ? (
    <button type="button" aria-label={`Resume ${id}`} onClick={() => void resume(id)}>
      Resume
    </button>
  ) : (
    <button type="button" aria-label={`Pause ${id}`} onClick={onPause}>
      Pause
    </button>
  );

function Detail({ of }: { of: Provider }) {
  const [pausing, setPausing] = useState<string | null>(null);
  const failing = of.lanes.filter(({ last_error }) => last_error);
  return (
    <>
      <div class="stats">
        <Stat label="Attempts" value={count(of.attempts)} note="since its counts began" />
        <Stat
          label="Success"
          value={of.success_rate === null ? "–" : percent(of.success_rate)}
          note={`${count(of.throttles)} rate-limited`}
          tone={of.success_rate !== null && of.success_rate < 0.9 ? "bad" : ""}
        />
        <Stat label="Median" value={duration(of.p50_ms)} note="until the first content" />
        <Stat label="p90" value={duration(of.p90_ms)} note="until the first content" />
        <Stat label="p99" value={duration(of.p99_ms)} note="until the first content" />
      </div>
      <Panel title="Last 24 hours">
        <Strip label={of.name} history={of.history} />
      </Panel>
      {of.last_error && (
        <Panel title="Last error">
          <ErrorBox error={of.last_error} />
        </Panel>
      )}
      <ProviderKeys of={of} pause={setPausing} resume={(id) => void resume(id)} />
      <Panel title="Lanes" flush>
        {of.lanes.length === 0 ? (
          <Empty icon="providers" title="No call yet">
            <p>
              A lane is a model of a provider with one of its keys. It appears after its first call.
            </p>
          </Empty>
        ) : (
          <div class="scroll" tabIndex={0} role="group" aria-label="Lanes">
            <table>
              <thead>
                <tr>
                  <th scope="col">Lane</th>
                  <th scope="col">State</th>
                  <th scope="col" class="num">
                    Attempts
                  </th>
                  <th scope="col" class="num">
                    Success
                  </th>
                  <th scope="col" class="num">
                    Average
                  </th>
                  <th scope="col">Last error</th>
                  <th scope="col">
                    <span class="sr">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {of.lanes.map((lane) => (
                  <tr key={lane.id}>
                    <th scope="row" class="clip">
                      <bdi>{lane.id}</bdi>
                    </th>
                    <td>
                      <Cooldown of={lane.cooldown} />
                    </td>
                    <td class="num">{count(lane.attempts)}</td>
                    <td class="num">
                      {lane.success_rate === null ? "–" : percent(lane.success_rate)}
                    </td>
                    <td class="num">{duration(lane.avg_latency_ms)}</td>
                    <td class="clip">
                      {lane.last_error ? (
                        <>
                          <Time at={lane.last_error.at} /> · {lane.last_error.status || ""}{" "}
                          <bdi>{lane.last_error.message}</bdi>
                        </>
                      ) : (
                        <span class="muted">none</span>
                      )}
                    </td>
                    <td class="end">
                      <Switch
                        id={lane.id}
                        cooldown={lane.cooldown}
                        onPause={() => setPausing(lane.id)}
                      />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      {failing.length > 1 && (
        <Panel title="Errors by lane">
          {failing.map(
            ({ id, last_error }) => last_error && <ErrorBox key={id} error={last_error} />,
          )}
        </Panel>
      )}
      {pausing && <Pause id={pausing} onClose={() => setPausing(null)} />}
    </>
  );
}

export default function Providers() {
  const providers = useProviders();
  const name = place.value.parts[1];
  if (name !== undefined) {
    const one = providers.data?.list.find((provider) => provider.name === name);
    return (
      <Page
        title={name}
        back={{ href: to(["providers"]), label: "Providers" }}
        lead={
          one && (
            <>
              <Badge tone={providerTone(one.state)}>{one.state}</Badge>{" "}
              {plural(one.models, "model")}, {one.formats.join(", ")}
            </>
          )
        }
      >
        <Show of={providers}>
          {() =>
            one ? (
              <Detail of={one} />
            ) : (
              <Empty icon="search" title="There is no such provider">
                <a href={to(["providers"])}>All providers</a>
              </Empty>
            )
          }
        </Show>
      </Page>
    );
  }
  const search = queryOf("q").trim().toLowerCase();
  const all = queryOf("all") !== "";
  return (
    <Page
      title="Providers"
      lead="State, results and last error of each provider, at most two seconds old."
    >
      <div class="tools">
        <Filter label="Filter by name" value={queryOf("q")} onValue={(q) => setQuery({ q })} />
        <div class="segmented" role="group" aria-label="Shown">
          <button type="button" aria-pressed={!all} onClick={() => setQuery({ all: null })}>
            Configured
          </button>
          <button type="button" aria-pressed={all} onClick={() => setQuery({ all: "1" })}>
            All
          </button>
        </div>
      </div>
      <Show of={providers}>
        {({ list }) => {
          const shown = list.filter(
            (one) => (all || one.active) && one.name.toLowerCase().includes(search),
          );
          if (shown.length === 0)
            return (
              <Empty
                icon="providers"
                title={search ? "No provider matches" : "No provider is configured"}
              >
                <p>
                  Show all providers, open one, and add a key.{" "}
                  <a href="/docs/operate/providers">Providers</a>
                </p>
              </Empty>
            );
          return (
            <ul class="cards">
              {shown.map((one) => (
                <li key={one.name} class="card-row">
                  <div class="head">
                    <h2>
                      <a href={to(["providers", one.name])}>
                        <bdi>{one.name}</bdi>
                      </a>
                    </h2>
                    <Badge tone={providerTone(one.state)}>{one.state}</Badge>
                    <span class="muted">{plural(one.models, "model")}</span>
                  </div>
                  <dl class="figures">
                    <div>
                      <dt>Attempts</dt>
                      <dd>{count(one.attempts)}</dd>
                    </div>
                    <div>
                      <dt>Success</dt>
                      <dd>{one.success_rate === null ? "–" : percent(one.success_rate)}</dd>
                    </div>
                    <div>
                      <dt>Median</dt>
                      <dd>{duration(one.p50_ms)}</dd>
                    </div>
                    <div>
                      <dt>p90</dt>
                      <dd>{duration(one.p90_ms)}</dd>
                    </div>
                    <div>
                      <dt>Cooldowns</dt>
                      <dd>
                        {one.lanes.filter(({ cooldown }) => cooldown).length} of {one.lanes.length}
                      </dd>
                    </div>
                  </dl>
                  {one.active && <Strip label={one.name} history={one.history} />}
                  {!one.active && one.reason && <p class="muted wrap">{one.reason}</p>}
                  {one.last_error && <ErrorBox error={one.last_error} />}
                </li>
              ))}
            </ul>
          );
        }}
      </Show>
    </Page>
  );
}
