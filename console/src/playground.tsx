//! The playground: a prompt to one model or two at the same time, as a stream, with time, tokens and cost, and the request as a
//! program. The calls are ordinary calls of a key: they count towards its limits and leave receipts.

import { useRef, useState } from "preact/hooks";
import { ApiError, call, errorOf, send } from "./api";
import { useModels } from "./catalogue";
import { count, duration, microUsd } from "./format";
import { programs } from "./snippets";
import { AreaField, Badge, Check, Code, Dialog, Field, Icon, Panel, TextField } from "./ui/basic";
import { Attempts } from "./usage";
import type { Receipt } from "./chain";

interface Run {
  model: string;
  text: string;
  reasoning: string;
  calls: string;
  state: "waiting" | "streaming" | "done" | "stopped" | "failed";
  error: string | null;
  status: number | null;
  provider: string | null;
  first_ms: number | null;
  total_ms: number | null;
  receipt: Receipt | null;
}

/** The events of a stream of chat completions, as they arrive. */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const lines = rest.split(/\r\n|\n|\r(?=.)/);
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

/** The receipt of a call that has just ended; it is recorded within about a second. */
async function receiptOf(id: string, key: string): Promise<Receipt | null> {
  for (const pause of [300, 700, 1500, 3000]) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    // The list, because the receipt itself is a 404 until it is recorded.
    const { data } = await call("get", "/usage/requests", { query: { limit: 20 }, key });
    const found = data.find((receipt) => receipt.id === id);
    if (found) return found;
  }
  return null;
}

async function run(
  body: object,
  model: string,
  key: string,
  signal: AbortSignal,
  show: (run: Run) => void,
) {
  let state: Run = {
    model,
    text: "",
    reasoning: "",
    calls: "",
    state: "waiting",
    error: null,
    status: null,
    provider: null,
    first_ms: null,
    total_ms: null,
    receipt: null,
  };
  const set = (change: Partial<Run>) => show((state = { ...state, ...change }));
  set({});
  const start = performance.now();
  let id: string | null = null;
  try {
    const response = await send("post", "/v1/chat/completions", {
      body: { ...body, model, stream: true },
      key,
      signal,
    });
    id = response.headers.get("x-gateway-receipt");
    const upstream = response.headers.get("x-gateway-provider");
    set({
      status: response.status,
      provider: upstream && `${upstream}/${response.headers.get("x-gateway-model") ?? ""}`,
    });
    if (!response.ok || !response.body) {
      const error = await errorOf(response);
      set({ state: "failed", error: error.message, total_ms: performance.now() - start });
    } else {
      for await (const data of events(response.body)) {
        if (data === "[DONE]") break;
        const event = JSON.parse(data);
        if (event.error) {
          set({ state: "failed", error: event.error.message });
          break;
        }
        const delta = event.choices?.[0]?.delta ?? {};
        const text: string = delta.content ?? "";
        const reasoning: string = delta.reasoning_content ?? delta.reasoning ?? "";
        const calls = (delta.tool_calls ?? [])
          .map((one: { function?: { name?: string; arguments?: string } }) =>
            one.function?.name
              ? `\n${one.function.name} ${one.function.arguments ?? ""}`
              : (one.function?.arguments ?? ""),
          )
          .join("");
        if (text || reasoning || calls)
          set({
            state: "streaming",
            first_ms: state.first_ms ?? performance.now() - start,
            text: state.text + text,
            reasoning: state.reasoning + reasoning,
            calls: state.calls + calls,
          });
      }
      set({
        state: state.state === "failed" ? "failed" : "done",
        total_ms: performance.now() - start,
      });
    }
  } catch (error) {
    const stopped = error instanceof DOMException && error.name === "AbortError";
    set({
      state: stopped ? "stopped" : "failed",
      error: stopped ? null : error instanceof ApiError ? error.message : "The response broke off.",
      total_ms: performance.now() - start,
    });
  }
  if (id) set({ receipt: await receiptOf(id, key).catch(() => null) });
}

const STATES: Record<Run["state"], [string, string]> = {
  waiting: ["Waiting", ""],
  streaming: ["Streaming", "accent"],
  done: ["Done", "good"],
  stopped: ["Stopped", "warn"],
  failed: ["Failed", "bad"],
};

function Result({ of }: { of: Run }) {
  const [label, tone] = STATES[of.state];
  const out = of.receipt?.completion_tokens ?? null;
  const span = of.total_ms !== null && of.first_ms !== null ? of.total_ms - of.first_ms : 0;
  return (
    <Panel
      title={<bdi class="wrap">{of.model}</bdi>}
      actions={
        <>
          <Badge tone={tone}>{label}</Badge>
          {of.status !== null && of.status !== 200 && <Badge tone="bad">{of.status}</Badge>}
        </>
      }
    >
      {of.reasoning && (
        <details>
          <summary>Reasoning</summary>
          <p class="output muted wrap">{of.reasoning}</p>
        </details>
      )}
      <div class="output wrap" tabIndex={0} role="group" aria-label={`Response of ${of.model}`}>
        {of.text}
        {of.calls && <pre class="wrap">{of.calls.trim()}</pre>}
        {of.state === "waiting" && <span class="muted">Waiting for the first token…</span>}
        {of.state === "streaming" && <span class="caret" />}
      </div>
      {of.error && (
        <p class="form-error wrap" role="alert">
          {of.error}
        </p>
      )}
      <dl class="figures">
        {(
          [
            ["First token", duration(of.first_ms)],
            ["Total", duration(of.total_ms)],
            [
              "Tokens in, out",
              of.receipt
                ? `${of.receipt.prompt_tokens === null ? "–" : count(of.receipt.prompt_tokens)}, ${out === null ? "–" : count(out)}`
                : "–",
            ],
            [
              "Speed",
              out !== null && span > 50 ? `${((1000 * out) / span).toFixed(1)} tokens/s` : "–",
            ],
            [
              "Cost",
              of.receipt
                ? of.receipt.cost_micro_usd === null
                  ? "unknown"
                  : microUsd(of.receipt.cost_micro_usd)
                : "–",
            ],
          ] as const
        ).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {of.provider && (
        <p class="muted">
          Responded: <bdi>{of.provider}</bdi>
        </p>
      )}
      {of.receipt && of.receipt.attempts.length > 1 && <Attempts attempts={of.receipt.attempts} />}
    </Panel>
  );
}

export function Playground({ apiKey, model: initial }: { apiKey: string; model: string }) {
  const models = useModels(apiKey);
  const chat = (models.data ?? []).filter(({ task }) => task !== "embed");
  const [model, setModel] = useState<string | null>(initial || null);
  const [other, setOther] = useState("");
  const [compare, setCompare] = useState(false);
  const [system, setSystem] = useState("");
  const [prompt, setPrompt] = useState("");
  const [most, setMost] = useState("");
  const [temperature, setTemperature] = useState("");
  const [more, setMore] = useState("");
  const [moreError, setMoreError] = useState<string | null>(null);
  const [runs, setRuns] = useState<Run[]>([]);
  const [code, setCode] = useState<string | null>(null);
  const abort = useRef<AbortController | null>(null);
  const busy = runs.some(({ state }) => state === "waiting" || state === "streaming");
  const chosen = model ?? (chat.find(({ id }) => id === "auto") ?? chat[0])?.id ?? "";

  /** The body of the request without the model, or null if the further fields are not JSON. */
  const body = (): Record<string, unknown> | null => {
    let fields: Record<string, unknown> = {};
    try {
      if (more.trim() !== "") fields = JSON.parse(more);
      if (fields === null || typeof fields !== "object" || Array.isArray(fields))
        throw new Error("it is not an object");
      setMoreError(null);
    } catch (error) {
      setMoreError(`This is not a JSON object: ${(error as Error).message}`);
      return null;
    }
    return {
      messages: [
        ...(system.trim() === "" ? [] : [{ role: "system", content: system }]),
        { role: "user", content: prompt },
      ],
      ...(most.trim() === "" ? {} : { max_tokens: Number(most) }),
      ...(temperature.trim() === "" ? {} : { temperature: Number(temperature) }),
      ...fields,
    };
  };
  const start = () => {
    const request = body();
    if (!request || busy || prompt.trim() === "" || chosen === "") return;
    abort.current = new AbortController();
    const { signal } = abort.current;
    const targets = [chosen, ...(compare && other.trim() !== "" ? [other.trim()] : [])];
    setRuns([]);
    const list: Run[] = [];
    targets.forEach((target, i) => {
      void run(request, target, apiKey, signal, (state) => {
        list[i] = state;
        setRuns(list.filter(Boolean));
      });
    });
  };
  const request = () => ({ model: chosen, ...(body() ?? {}), stream: false });
  return (
    <div class="playground">
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault();
          start();
        }}
      >
        <datalist id="playground-models">
          {chat.slice(0, 1000).map(({ id }) => (
            <option key={id} value={id} />
          ))}
        </datalist>
        <div class="two">
          <TextField
            label="Model"
            list="playground-models"
            value={chosen}
            onValue={setModel}
            hint={models.error?.message}
          />
          {compare && (
            <TextField
              label="Compare with"
              list="playground-models"
              value={other}
              onValue={setOther}
            />
          )}
        </div>
        <Check label="Compare two models" checked={compare} onChecked={setCompare} />
        <AreaField
          label="System"
          rows={2}
          value={system}
          onValue={setSystem}
          placeholder="Optional instructions"
        />
        <Field label="Prompt" hint="Ctrl+Enter sends it.">
          {(id) => (
            <textarea
              id={id}
              rows={5}
              value={prompt}
              onInput={(event) => setPrompt(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
                  event.preventDefault();
                  start();
                }
              }}
            />
          )}
        </Field>
        <details>
          <summary>More parameters</summary>
          <div class="grid-fields">
            <TextField
              label="Longest output"
              type="number"
              min="1"
              placeholder="tokens"
              value={most}
              onValue={setMost}
            />
            <TextField
              label="Temperature"
              type="number"
              min="0"
              max="2"
              step="0.1"
              value={temperature}
              onValue={setTemperature}
            />
          </div>
          <AreaField
            label="Further fields"
            mono
            rows={4}
            value={more}
            onValue={setMore}
            placeholder={'{"tools": […], "response_format": {…}}'}
            hint="A JSON object, added to the request: tools, response_format, provider, …"
          />
          {moreError && (
            <p class="form-error" role="alert">
              {moreError}
            </p>
          )}
        </details>
        <div class="actions">
          {busy ? (
            <button type="button" onClick={() => abort.current?.abort()}>
              <Icon name="close" /> Stop
            </button>
          ) : (
            <button type="submit" class="primary" disabled={prompt.trim() === "" || chosen === ""}>
              <Icon name="play" /> Send
            </button>
          )}
          <button type="button" onClick={() => body() && setCode("curl")}>
            Copy as code
          </button>
        </div>
      </form>
      <div class={runs.length > 1 ? "results two" : "results"}>
        {runs.length === 0 && (
          <p class="muted none">
            The response appears here while it is written, with its time, tokens and cost.
          </p>
        )}
        {runs.map((one, i) => (
          <Result key={i} of={one} />
        ))}
      </div>
      {code && (
        <Dialog title="This request as code" wide onClose={() => setCode(null)}>
          {() => (
            <div class="body">
              <div class="segmented" role="group" aria-label="Language">
                {programs(location.origin, "/v1/chat/completions", request()).map(
                  ({ id, name }) => (
                    <button
                      key={id}
                      type="button"
                      aria-pressed={code === id}
                      onClick={() => setCode(id)}
                    >
                      {name}
                    </button>
                  ),
                )}
              </div>
              {programs(location.origin, "/v1/chat/completions", request())
                .filter(({ id }) => id === code)
                .map(({ id, name, where, text }) => (
                  <div key={id}>
                    <p class="hint">
                      {where}. The key is read from the variable GATEHOUSE_API_KEY.
                    </p>
                    <Code text={text} label={name} />
                  </div>
                ))}
            </div>
          )}
        </Dialog>
      )}
    </div>
  );
}
