//! The page of a key holder: the key is the sign-in. Limits, usage and receipts of the key, the models that it may use, settings of
//! tools, a playground, the state of the providers, and a request for a key or for more.

import { render } from "preact";
import { useRef, useState } from "preact/hooks";
import { call, type ApiError, type Schemas } from "./api";
import { useModels } from "./catalogue";
import { now, offline, useData } from "./data";
import { duration, percent, plural, relative, short, usd } from "./format";
import { listen } from "./keyboard";
import { Playground } from "./playground";
import { place, queryOf, setQuery, to } from "./router";
import { accept, key, restore, signOut } from "./session";
import { SignIn, unknownKey } from "./sign-in";
import { tools } from "./snippets";
import { Range, rangeOf } from "./spending";
import { applyTheme, nextTheme, theme } from "./theme";
import {
  AreaField,
  Badge,
  Code,
  Empty,
  Facts,
  Filter,
  FormDialog,
  Icon,
  Page,
  Panel,
  ResultDialog,
  Secret,
  SelectField,
  Show,
  Stat,
  Tabs,
  TextField,
  Time,
  Toasts,
  toast,
} from "./ui/basic";
import { NewCredential, OverlapField, type Credential } from "./ui/credential";
import { LimitFields, limitsOf, limitsText, type LimitTexts, type Limits } from "./ui/limits";
import { Receipts, UsageByDay, UsageLimits, UsageParts, UsageStats, useUsage } from "./usage";

type Usage = Schemas["KeyUsage"];

/** The form of people without a key. */
function AskForKey({ onClose }: { onClose: () => void }) {
  const [email, setEmail] = useState("");
  const [company, setCompany] = useState("");
  const [useCase, setUseCase] = useState("");
  const [intended, setIntended] = useState("");
  const [expected, setExpected] = useState("");
  const [done, setDone] = useState<{ message: string; key: string | null } | null>(null);
  const sent = useRef(false);
  if (done)
    return (
      <ResultDialog title={done.key ? "Your key" : "Your request was sent"} onClose={onClose}>
        {() => (
          <>
            <p class="wrap">{done.message}</p>
            {done.key && <Secret text={done.key} label="Your key" />}
          </>
        )}
      </ResultDialog>
    );
  return (
    <FormDialog
      title="Ask for a key"
      action="Send"
      onClose={() => {
        // The form closes when it has been sent; the result takes its place.
        if (!sent.current) onClose();
      }}
      submit={async () => {
        const answer = (await call("post", "/access/request-key", {
          key: null,
          body: {
            email: email.trim(),
            use_case: useCase.trim(),
            ...(company.trim() === "" ? {} : { company: company.trim() }),
            ...(intended === "" ? {} : { intended_use: intended as "personal" }),
            ...(expected.trim() === "" ? {} : { expected_daily_requests: Number(expected) }),
          },
        })) as { message?: string; api_key?: string };
        sent.current = true;
        setDone({
          message: answer.message ?? "An operator will review it.",
          key: answer.api_key ?? null,
        });
      }}
    >
      <TextField label="E-mail" type="email" required autofocus value={email} onValue={setEmail} />
      <AreaField label="What do you want to build?" rows={4} value={useCase} onValue={setUseCase} />
      <div class="two">
        <TextField label="Company" value={company} onValue={setCompany} />
        <SelectField
          label="Use"
          value={intended}
          onValue={setIntended}
          options={[
            ["", "–"],
            ["personal", "Personal"],
            ["internal", "Internal"],
            ["production", "Production"],
          ]}
        />
      </div>
      <TextField
        label="Calls a day that you expect"
        type="number"
        min="1"
        value={expected}
        onValue={setExpected}
      />
    </FormDialog>
  );
}

/** The limits of the key for all models together: of each kind the strictest, in the units of requests for more. */
function limitsNow(usage: Usage): Limits {
  const limits: Record<string, number> = {};
  for (const { limit, amount, models } of usage.limits) {
    const value = limit.startsWith("usd") ? amount / 1e6 : amount;
    if (!models) limits[limit] = Math.min(value, limits[limit] ?? Infinity);
  }
  return limits as Limits;
}

function AskForMore({ usage, onClose }: { usage: Usage; onClose: () => void }) {
  const [limits, setLimits] = useState<LimitTexts>({});
  const [reason, setReason] = useState("");
  const now = limitsNow(usage);
  const names = Object.keys(now) as (keyof Limits)[];
  return (
    <FormDialog
      title="Ask for more"
      action="Send"
      disabled={reason.trim() === "" || Object.keys(limitsOf(limits)).length === 0}
      onClose={onClose}
      submit={async () => {
        const { message } = await call("post", "/usage/request-increase", {
          body: { limits: limitsOf(limits), reason: reason.trim() },
        });
        toast(message);
      }}
    >
      <p class="hint">
        Now: {limitsText(now)}. An operator decides; until then the present limits apply.
      </p>
      <LimitFields
        value={limits}
        names={names}
        {...(names[0] ? { focus: names[0] } : {})}
        empty="as now"
        onValue={setLimits}
      />
      <AreaField label="Why do you need more?" rows={4} value={reason} onValue={setReason} />
    </FormDialog>
  );
}

/** A new secret for the key. The page goes on with it, since the present one may end at once. */
function RotateKey(props: { onClose: () => void; onMade: (made: Credential) => void }) {
  const [overlap, setOverlap] = useState("86400");
  return (
    <FormDialog
      title="Rotate this key"
      action="Create a new secret"
      danger={overlap === "0"}
      onClose={props.onClose}
      submit={async () => {
        const { api_key, previous_expires_at: ends } = await call("post", "/usage/rotate", {
          body: { overlap_seconds: Number(overlap) },
        });
        accept(api_key);
        props.onMade({ api_key, ends });
      }}
    >
      <p>The key gets another secret. Its name, permissions, limits and usage stay.</p>
      <OverlapField value={overlap} onValue={setOverlap} />
    </FormDialog>
  );
}

function Permissions({ of }: { of: Usage["permissions"] }) {
  const names = of.policies.map(({ name, exists }) => (exists ? name : `${name} (removed)`));
  const facts: [string, preact.ComponentChildren][] = [
    ["Expires", <Time at={of.expires_at} />],
    ["Policies", names.length > 0 ? <bdi>{names.join(", ")}</bdi> : "none"],
    ["Models", of.models ? <bdi>{of.models.join(", ")}</bdi> : "all, as far as policies allow"],
    [
      "Endpoints",
      <details>
        <summary>{plural(of.endpoints.length, "endpoint")}</summary>
        {of.endpoints.join(", ")}
      </details>,
    ],
  ];
  return (
    <Panel title="Permissions">
      <Facts of={facts} />
    </Panel>
  );
}

function Overview() {
  const days = rangeOf();
  const usage = useUsage(null, days);
  const [open, setOpen] = useState<"more" | "rotate" | null>(null);
  const [made, setMade] = useState<Credential | null>(null);
  const hasLimits = usage.data !== null && Object.keys(limitsNow(usage.data)).length > 0;
  return (
    <Page
      title={usage.data?.key ?? "Your key"}
      lead="What this key has used, and what is left."
      actions={
        <>
          <Range />
          {hasLimits && (
            <button type="button" onClick={() => setOpen("more")}>
              Ask for more
            </button>
          )}
          <button type="button" onClick={() => setOpen("rotate")}>
            Rotate
          </button>
        </>
      }
    >
      <Show of={usage} rows={8}>
        {(data) => (
          <>
            <Panel title="Limits">
              <UsageLimits usage={data} none="This key has no limits." />
            </Panel>
            <UsageStats usage={data} days={days} />
            <UsageByDay usage={data} days={days} />
            <UsageParts usage={data} />
            <Receipts name={null} usage={data} />
            <Permissions of={data.permissions} />
          </>
        )}
      </Show>
      {open === "more" && usage.data && (
        <AskForMore usage={usage.data} onClose={() => setOpen(null)} />
      )}
      {open === "rotate" && <RotateKey onClose={() => setOpen(null)} onMade={setMade} />}
      {made && (
        <NewCredential
          title="The new secret"
          note="This page is signed in with it."
          {...made}
          onClose={() => setMade(null)}
        />
      )}
    </Page>
  );
}

function ModelsTab() {
  const models = useModels();
  const search = queryOf("q").trim().toLowerCase();
  return (
    <Page title="Models" lead="The models that this key may use. Prices are per million tokens.">
      <div class="tools">
        <Filter label="Filter by name" value={queryOf("q")} onValue={(q) => setQuery({ q })} />
      </div>
      <Show of={models} rows={8}>
        {(data) => {
          const found = data.filter(({ id }) => id.toLowerCase().includes(search));
          return found.length === 0 ? (
            <Empty icon="models" title="No model matches" />
          ) : (
            <>
              <Panel flush>
                <div class="scroll" tabIndex={0} role="group" aria-label="Models">
                  <table>
                    <thead>
                      <tr>
                        <th scope="col">Model</th>
                        <th scope="col" class="num">
                          Context
                        </th>
                        <th scope="col" class="num">
                          Input
                        </th>
                        <th scope="col" class="num">
                          Output
                        </th>
                      </tr>
                    </thead>
                    <tbody>
                      {found.slice(0, 200).map((model) => (
                        <tr key={model.id}>
                          <th scope="row" class="clip">
                            <a href={to(["playground"], { model: model.id })}>
                              <bdi>{model.id}</bdi>
                            </a>
                          </th>
                          <td class="num">
                            {model.context_length ? short(model.context_length) : "unknown"}
                          </td>
                          <td class="num">
                            {model.pricing?.input ? usd(Number(model.pricing.input)) : "unknown"}
                          </td>
                          <td class="num">
                            {model.pricing?.output ? usd(Number(model.pricing.output)) : "unknown"}
                          </td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              </Panel>
              <p class="pager muted">
                {plural(found.length, "model")}
                {found.length > 200 && ", the first 200 are shown: filter by name"}
              </p>
            </>
          );
        }}
      </Show>
    </Page>
  );
}

function Connect() {
  const models = useModels();
  const chat = (models.data ?? []).filter(({ task }) => task !== "embed");
  const model = queryOf("model") || (chat.find(({ id }) => id === "auto") ?? chat[0])?.id || "auto";
  const list = tools(location.origin, model);
  const tool = queryOf("tool", "curl");
  const shown = list.find(({ id }) => id === tool) ?? list[0];
  return (
    <Page title="Connect" lead={`Base URL ${location.origin}/v1, and your key.`}>
      <Panel>
        <SelectField
          label="Model"
          value={model}
          onValue={(value) => setQuery({ model: value })}
          options={(chat.length > 0 ? chat.slice(0, 500).map(({ id }) => id) : [model]).map(
            (id) => [id, id],
          )}
        />
        <div class="segmented many" role="group" aria-label="Tool">
          {list.map(({ id, name }) => (
            <button
              key={id}
              type="button"
              aria-pressed={shown?.id === id}
              onClick={() => setQuery({ tool: id })}
            >
              {name}
            </button>
          ))}
        </div>
        {shown && (
          <>
            <p class="hint">{shown.where}</p>
            <Code text={shown.text} label={shown.name} />
          </>
        )}
        <p class="hint">
          Put the key into the variable <code>GATEHOUSE_API_KEY</code>, not into files that others
          read. <a href="/docs/clients">More clients</a>
        </p>
      </Panel>
    </Page>
  );
}

function Status() {
  const status = useData("status", () => call("get", "/v1/routing/status"), 10);
  const usage = useUsage(null, 7);
  const last = useData(
    "receipts:last",
    () => call("get", "/usage/requests", { query: { limit: 20 } }),
    10,
  );
  return (
    <Page title="Status" lead="Is it me or the provider?">
      <Show of={status} rows={5}>
        {({ summary, fallback_order: order }) => {
          const failed = (last.data?.data ?? []).filter(
            ({ outcome }) => outcome === "failed" || outcome === "refused",
          );
          const mine = failed.filter(({ outcome }) => outcome === "refused").length;
          const spent = usage.data?.limits.find(({ remaining }) => remaining === 0);
          const text = spent
            ? `A limit of your key is used up${spent.resets_at ? `; it resets ${relative(spent.resets_at, now.value)}` : ""}. Calls get 429 until then.`
            : failed.length === 0
              ? "The last calls of your key succeeded."
              : mine > failed.length / 2
                ? "Providers refused most of the failed calls as invalid requests: look at the error messages that your program gets."
                : "The failed calls failed because of providers: try again, or use a group or auto, which use another one.";
          return (
            <>
              <p class={spent ? "note-box warn" : "note-box"} role="status">
                {text}
              </p>
              <div class="stats">
                <Stat
                  label="Models available"
                  value={short(summary.available_models)}
                  note={`of ${short(summary.configured_models)}`}
                />
                <Stat
                  label="In cooldown"
                  value={short(summary.cooldown_models)}
                  tone={summary.cooldown_models > 0 ? "warn" : ""}
                />
                <Stat
                  label="Degraded"
                  value={short(summary.degraded_models)}
                  tone={summary.degraded_models > 0 ? "warn" : ""}
                />
                <Stat
                  label="Your last calls"
                  value={
                    last.data
                      ? percent(1 - failed.length / Math.max(1, last.data.data.length))
                      : "–"
                  }
                  note={last.data ? `success, of ${plural(last.data.data.length, "call")}` : " "}
                />
              </div>
              <Panel title="Models" flush>
                <div class="scroll" tabIndex={0} role="group" aria-label="State of models">
                  <table>
                    <thead>
                      <tr>
                        <th scope="col">Model</th>
                        <th scope="col">State</th>
                        <th scope="col" class="num">
                          Success
                        </th>
                        <th scope="col" class="num">
                          Average
                        </th>
                      </tr>
                    </thead>
                    <tbody>
                      {order
                        .toSorted(
                          (a, b) =>
                            Number(a.status === "available") - Number(b.status === "available"),
                        )
                        .slice(0, 50)
                        .map((one) => (
                          <tr key={one.id}>
                            <th scope="row" class="clip">
                              <bdi>{one.id}</bdi>
                            </th>
                            <td>
                              <Badge tone={one.status === "available" ? "good" : "warn"}>
                                {one.status}
                              </Badge>
                            </td>
                            <td class="num">
                              {one.reasons.includes("no_health_data_yet")
                                ? "–"
                                : percent(one.success_rate)}
                            </td>
                            <td class="num">
                              {one.reasons.includes("no_health_data_yet")
                                ? "–"
                                : duration(one.avg_latency_ms)}
                            </td>
                          </tr>
                        ))}
                    </tbody>
                  </table>
                </div>
              </Panel>
            </>
          );
        }}
      </Show>
    </Page>
  );
}

const PlaygroundTab = ({ apiKey }: { apiKey: string }) => (
  <Page
    title="Playground"
    lead="Calls of this page are calls of your key: they count towards its limits."
  >
    <Playground key={queryOf("model")} apiKey={apiKey} model={queryOf("model")} />
  </Page>
);

const TABS = [
  ["usage", "Usage"],
  ["models", "Models"],
  ["connect", "Connect"],
  ["playground", "Playground"],
  ["status", "Status"],
] as const;

function Shell({ apiKey }: { apiKey: string }) {
  const tab = place.value.parts[0] ?? "usage";
  return (
    <div class="single">
      <header class="bar">
        <a class="brand" href={to([])}>
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d="M2 3h4v2h3V3h6v2h3V3h4v18h-6v-6a4 4 0 0 0-8 0v6H2z" />
          </svg>
          <span>{location.host}</span>
        </a>
        <code class="muted">{apiKey.slice(0, 13)}…</code>
        {offline.value && (
          <span class="live off" role="status">
            <i /> Offline
          </span>
        )}
        <button
          type="button"
          class="icon-only"
          aria-label={`Theme: ${theme.value}`}
          title={`Theme: ${theme.value}`}
          onClick={nextTheme}
        >
          <Icon name="theme" />
        </button>
        <button
          type="button"
          class="icon-only"
          aria-label="Sign out"
          title="Sign out"
          onClick={() => signOut()}
        >
          <Icon name="lock" />
        </button>
      </header>
      <Tabs
        label="Your key"
        tabs={TABS.map(([name, title]) => ({
          href: to(name === "usage" ? [] : [name]),
          name: title,
          current: tab === name,
        }))}
      />
      <main id="main">
        {tab === "models" ? (
          <ModelsTab />
        ) : tab === "connect" ? (
          <Connect />
        ) : tab === "playground" ? (
          <PlaygroundTab apiKey={apiKey} />
        ) : tab === "status" ? (
          <Status />
        ) : (
          <Overview />
        )}
      </main>
      <Toasts />
    </div>
  );
}

function explain(error: ApiError, value: string): string | null {
  if (error.code === "api_key_expired")
    return "This key has expired. Ask its operator for another.";
  if (error.code === "api_key_disabled") return "This key is disabled. Ask its operator why.";
  if (error.status === 400 || error.status === 403)
    return error.status === 400 && error.message.includes("'key'")
      ? "This is an operator key. The console of operators is at /console."
      : error.message;
  return unknownKey(error, value);
}

function App() {
  const [asking, setAsking] = useState(false);
  const current = key.value;
  if (current !== null) return <Shell apiKey={current} />;
  return (
    <>
      <SignIn
        title="Your key"
        lead="Sign in with your key to see its limits, usage and receipts."
        label="Key"
        check={(value) => call("get", "/usage", { key: value, query: { days: 1 } })}
        explain={explain}
        more={
          <p class="hint">
            No key yet?{" "}
            <button type="button" class="link" onClick={() => setAsking(true)}>
              Ask for one
            </button>
          </p>
        }
      />
      {asking && <AskForKey onClose={() => setAsking(false)} />}
    </>
  );
}

applyTheme();
restore("gatehouse.key");
listen();
const root = document.getElementById("app");
if (root) render(<App />, root);
