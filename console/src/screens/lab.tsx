//! The lab: the routing decision for a request, and the playground. Operator keys run no inference, so both use a key of a caller,
//! which is pasted, or created here for an hour.

import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { ApiError, call, type Schemas } from "../api";
import { reload } from "../data";
import { count, duration, percent, relative, usd } from "../format";
import { place, queryOf, to } from "../router";
import { Playground } from "../playground";
import {
  AreaField,
  Badge,
  Icon,
  Page,
  Panel,
  SelectField,
  Tabs,
  TextField,
  toast,
} from "../ui/basic";

const STORE = "gatehouse.lab-key";
const callerKey = signal<string | null>(sessionStorage.getItem(STORE));

function keep(value: string | null) {
  if (value === null) sessionStorage.removeItem(STORE);
  else sessionStorage.setItem(STORE, value);
  callerKey.value = value;
}

const HOUR_MS = 3_600_000;

async function create() {
  const now = new Date();
  const name = `console-${now.toISOString().slice(0, 19).replace(/[-:]/g, "")}`;
  const made = await call("post", "/v0/api_keys", {
    body: {
      name,
      expires_at: new Date(now.getTime() + HOUR_MS).toISOString(),
      limits: { requests_per_day: 200 },
      metadata: { purpose: "lab of the console" },
    },
  });
  if ("api_key" in made) keep(made.api_key);
  toast(`The key ${name} was created: 200 calls, one hour.`);
  await reload("keys");
}

function KeyNeeded() {
  const [value, setValue] = useState("");
  const [busy, setBusy] = useState(false);
  return (
    <Panel title="A key for the lab">
      <p>
        Operator keys make no calls. The lab uses the key of a caller, with that key’s permissions
        and limits, and its calls are in that key’s usage.
      </p>
      <div class="actions">
        <button
          type="button"
          class="primary"
          disabled={busy}
          onClick={() => {
            setBusy(true);
            create()
              .catch((error: Error) => toast(error.message, { bad: true }))
              .finally(() => setBusy(false));
          }}
        >
          Create a key for an hour
        </button>
        <span class="muted">200 calls at most, recorded in the audit trail</span>
      </div>
      <form
        class="inline"
        onSubmit={(event) => {
          event.preventDefault();
          if (value.trim() !== "") keep(value.trim());
        }}
      >
        <TextField
          label="Or paste a caller’s key"
          type="password"
          spellcheck={false}
          value={value}
          onValue={setValue}
        />
        <button type="submit">Use it</button>
      </form>
    </Panel>
  );
}

// --- Routing -----------------------------------------------------------------------------------------------------------

type Plan = Schemas["RoutingPlan"];

const DROPPED: Record<string, string> = {
  not_allowed: "the key may not use it",
  field_not_allowed: "the key may not send a field",
  provider_not_configured: "provider not configured",
  unknown_model: "unknown model",
  other_task: "another task",
  no_endpoint: "no such endpoint",
  not_translatable: "not translatable",
  other_model: "another model",
  not_preferred: "excluded by preferences",
  too_expensive: "too expensive",
  would_drop_parameter: "would drop a parameter",
  not_capable: "not capable",
  no_fallbacks: "fallbacks are off",
};

const SAMPLE = (model: string) =>
  JSON.stringify({ model, messages: [{ role: "user", content: "Say hello." }] }, null, 2);

function Ladder({
  plan,
  broken,
  onBreak,
}: {
  plan: Plan;
  broken: string[];
  onBreak: (provider: string) => void;
}) {
  const of = (id: string) => plan.candidates.find((candidate) => candidate.id === id);
  return (
    <ol class="ladder">
      {plan.attempts.map((attempt, i) => {
        const candidate = of(attempt.id);
        const provider = candidate?.provider ?? attempt.id.split("/")[0] ?? "";
        return (
          <li key={`${attempt.id} ${attempt.key}`} class={attempt.available ? "" : "out"}>
            <span class="step">{i + 1}</span>
            <div>
              <p class="wrap">
                <b>
                  <bdi>{attempt.id}</bdi>
                </b>{" "}
                <span class="muted">key {attempt.key}</span>{" "}
                {attempt.available ? (
                  i === plan.attempts.findIndex(({ available }) => available) ? (
                    <Badge tone="good">called first</Badge>
                  ) : (
                    <Badge>if those before fail</Badge>
                  )
                ) : (
                  <Badge tone="warn">
                    {attempt.unavailable_because?.replaceAll("_", " ") ?? "cooldown"}
                    {attempt.available_at && `, ${relative(attempt.available_at, Date.now())}`}
                  </Badge>
                )}
              </p>
              <p class="muted">
                {attempt.success_rate === null
                  ? "not called yet"
                  : `${percent(attempt.success_rate)} success`}
                {attempt.avg_latency_ms !== null && `, ${duration(attempt.avg_latency_ms)}`}
                {candidate && (
                  <>
                    {candidate.usd_per_mtok !== null &&
                      `, ${usd(candidate.usd_per_mtok)} per million tokens`}
                    {candidate.context !== null && `, context ${count(candidate.context)}`}
                    {`, ${candidate.tier} tier, `}
                    {candidate.passes ? "passed on unchanged" : `translated to ${candidate.format}`}
                    {candidate.score !== null && `, score ${candidate.score.toFixed(3)}`}
                  </>
                )}
              </p>
              {candidate && candidate.dropped_params.length > 0 && (
                <p>
                  <Badge tone="warn">drops {candidate.dropped_params.join(", ")}</Badge>
                </p>
              )}
            </div>
            {!broken.includes(provider) && (
              <button type="button" onClick={() => onBreak(provider)}>
                What if <bdi>{provider}</bdi> fails?
              </button>
            )}
          </li>
        );
      })}
    </ol>
  );
}

function Routing({ apiKey }: { apiKey: string }) {
  const [endpoint, setEndpoint] = useState("/v1/chat/completions");
  const [text, setText] = useState(SAMPLE(queryOf("model", "auto")));
  const [session, setSession] = useState("");
  const [plan, setPlan] = useState<Plan | null>(null);
  const [broken, setBroken] = useState<string[]>([]);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const explain = (without: string[]) => {
    setError(null);
    let body: { provider?: { ignore?: string[] } };
    try {
      body = JSON.parse(text);
    } catch (reason) {
      setError(
        new ApiError(`The request is not JSON: ${(reason as Error).message}`, -1, null, null),
      );
      return;
    }
    if (without.length > 0)
      body = {
        ...body,
        provider: { ...body.provider, ignore: [...(body.provider?.ignore ?? []), ...without] },
      };
    setBusy(true);
    call("post", "/v1/routing/explain", {
      key: apiKey,
      query: { endpoint } as never,
      body: body as never,
      headers: session.trim() === "" ? {} : { "x-session-id": session.trim() },
    })
      .then(
        (next) => {
          setPlan(next);
          setBroken(without);
        },
        (reason: ApiError) => {
          setError(reason);
          if (without.length === 0) setPlan(null);
        },
      )
      .finally(() => setBusy(false));
  };
  return (
    <div class="playground">
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault();
          explain([]);
        }}
      >
        <SelectField
          label="Endpoint"
          value={endpoint}
          onValue={setEndpoint}
          options={["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"].map(
            (path) => [path, path],
          )}
        />
        <AreaField label="Request" mono rows={12} value={text} onValue={setText} />
        <TextField
          label="Session"
          hint="X-Session-Id: calls of one session go to the same lane. Optional."
          value={session}
          onValue={setSession}
        />
        <div class="actions">
          <button type="submit" class="primary" disabled={busy}>
            {busy ? "Working…" : "Explain"}
          </button>
          <span class="muted">Calls no provider and changes nothing.</span>
        </div>
      </form>
      <div class="results">
        {error && (
          <p class="form-error wrap" role="alert">
            {error.message}
            {error.code && (
              <>
                {" "}
                <code>{error.code}</code>
              </>
            )}
          </p>
        )}
        {broken.length > 0 && plan && (
          <p class="note-box warn" role="status">
            If <bdi>{broken.join(" and ")}</bdi> fails: the plan without it.{" "}
            <button type="button" class="link" onClick={() => explain([])}>
              Back to all providers
            </button>
          </p>
        )}
        {plan ? (
          <>
            <Panel title={`Order of attempts for ${plan.model}`}>
              {plan.attempts.length === 0 ? (
                <p class="muted none">No candidate is left: a call would fail.</p>
              ) : (
                <Ladder
                  plan={plan}
                  broken={broken}
                  onBreak={(provider) => explain([...broken, provider])}
                />
              )}
              <p class="muted">
                At most {plan.limits.max_attempts} attempts
                {plan.sticky_by
                  ? `; the ${plan.sticky_by} decides between equals`
                  : "; ties are broken at random"}
                .
              </p>
            </Panel>
            {plan.dropped.length > 0 && (
              <Panel title={`Skipped: ${count(plan.dropped.length)}`}>
                <ul class="dropped">
                  {plan.dropped.slice(0, 200).map(({ id, reason, detail }) => (
                    <li key={id + reason} class="wrap">
                      <bdi>{id}</bdi> <Badge>{DROPPED[reason] ?? reason}</Badge>{" "}
                      <span class="muted">{detail}</span>
                    </li>
                  ))}
                </ul>
              </Panel>
            )}
          </>
        ) : (
          !error && (
            <p class="muted none">
              The candidates appear here in the order in which they would be called, and why others
              are skipped.
            </p>
          )
        )}
      </div>
    </div>
  );
}

export default function Lab() {
  const tab = place.value.parts[1] ?? "playground";
  const current = callerKey.value;
  return (
    <Page
      title="Lab"
      lead="Try models, and see where a request would go and why."
      actions={
        current && (
          <>
            <span class="muted">
              <Icon name="keys" /> <code>{current.slice(0, 13)}…</code>
            </span>
            <button type="button" onClick={() => keep(null)}>
              Use another key
            </button>
          </>
        )
      }
    >
      <Tabs
        label="Lab"
        tabs={[
          { href: to(["lab"]), name: "Playground", current: tab === "playground" },
          { href: to(["lab", "routing"]), name: "Routing", current: tab === "routing" },
        ]}
      />
      {current === null ? (
        <KeyNeeded />
      ) : tab === "routing" ? (
        <Routing apiKey={current} />
      ) : (
        <Playground key={queryOf("model")} apiKey={current} model={queryOf("model")} />
      )}
    </Page>
  );
}
