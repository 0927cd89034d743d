//! The usage of one key: limits, spend by day, models and projects, and its receipts with the check of their chain. Operators name
//! the key; a key holder's own key needs no name.

import { Fragment } from "preact";
import { useState } from "preact/hooks";
import { call, type Schemas } from "./api";
import { verifyReceipts, type Receipt, type Verdict } from "./chain";
import { useData, usePages } from "./data";
import { count, csv, duration, microUsd, percent, plural, save, short, usd } from "./format";
import { queryOf, setQuery } from "./router";
import { Badge, Empty, Facts, Icon, More, Panel, Show, Stat, Time, toast } from "./ui/basic";
import { Ranked, StackedBars, daysUntil } from "./ui/chart";
import { LimitBar } from "./ui/limits";

type Usage = Schemas["KeyUsage"];

const MEASURES: [string, string][] = [
  ["cost", "Cost"],
  ["calls", "Calls"],
  ["tokens", "Tokens"],
];

/** `name` of the key; null: the key of the page. */
export const useUsage = (name: string | null, days: number) =>
  useData(
    `usage:${name ?? ""}:${days}`,
    () => call("get", "/usage", { query: { ...(name ? { key: name } : {}), days } }),
    5,
  );

export const UsageLimits = ({ usage, none }: { usage: Usage; none: preact.ComponentChildren }) =>
  usage.limits.length === 0 ? (
    <p class="muted none">{none}</p>
  ) : (
    <div class="limits">
      {usage.limits.map((limit) => (
        <LimitBar key={`${limit.limit} ${limit.models}`} limit={limit} />
      ))}
    </div>
  );

export const UsageStats = ({ usage, days }: { usage: Usage; days: number }) => (
  <div class="stats">
    <Stat
      label="Cost"
      value={usd(usage.cost_usd)}
      note={
        usage.unpriced > 0
          ? `${plural(usage.unpriced, "call")} of unknown price`
          : `in ${days} days`
      }
    />
    <Stat label="Calls" value={short(usage.total_requests)} note={`in ${days} days`} />
    <Stat
      label="Success"
      value={usage.total_requests > 0 ? percent(usage.success_rate) : "–"}
      note={`${count(usage.failed_requests)} failed`}
      tone={usage.total_requests > 0 && usage.success_rate < 0.9 ? "bad" : ""}
    />
    <Stat
      label="Input"
      value={short(usage.prompt_tokens)}
      note={`tokens, ${short(usage.cached_tokens)} cached`}
    />
    <Stat label="Output" value={short(usage.completion_tokens)} note="tokens" />
    <Stat label="First token" value={duration(usage.avg_first_token_ms)} note="on average" />
  </div>
);

export function UsageByDay({ usage, days }: { usage: Usage; days: number }) {
  const measure = queryOf("measure", "cost");
  const starts = daysUntil(new Date(usage.as_of), Math.min(days, 90));
  const rows = new Map(usage.daily.map((row) => [row.date, row]));
  const values = (of: (row: Usage["daily"][number]) => number) =>
    starts.map((start) => {
      const row = rows.get(start);
      return row ? of(row) : 0;
    });
  const series =
    measure === "calls"
      ? [
          { name: "Successful", tone: "c0", values: values(({ successful }) => successful) },
          { name: "Failed", tone: "bad", values: values(({ failed }) => failed) },
        ]
      : measure === "tokens"
        ? [
            { name: "Input", tone: "c0", values: values((row) => row.prompt_tokens) },
            { name: "Output", tone: "c1", values: values((row) => row.completion_tokens) },
          ]
        : [{ name: "Cost", tone: "c0", values: values((row) => row.cost_usd) }];
  return (
    <Panel
      title="By day"
      actions={
        <div class="segmented" role="group" aria-label="Measure">
          {MEASURES.map(([value, label]) => (
            <button
              key={value}
              type="button"
              aria-pressed={measure === value}
              onClick={() => setQuery({ measure: value === "cost" ? null : value })}
            >
              {label}
            </button>
          ))}
        </div>
      }
    >
      <StackedBars
        label={`${MEASURES.find(([value]) => value === measure)?.[1] ?? "Cost"} by day`}
        starts={starts}
        series={series}
        whole={measure !== "cost"}
        format={measure === "cost" ? usd : short}
      />
    </Panel>
  );
}

export const UsageParts = ({ usage }: { usage: Usage }) => (
  <div class="columns">
    {(
      [
        ["Models", usage.models],
        ["Projects", usage.projects],
      ] as const
    ).map(([title, rows]) => {
      const entries = Object.entries(rows);
      const byCost = entries.some(([, { cost_usd }]) => cost_usd > 0);
      return (
        <Panel key={title} title={title}>
          {entries.length === 0 ? (
            <p class="muted none">
              {title === "Projects"
                ? "No call has named a project (X-Gateway-Project-Id)."
                : "No calls in this range."}
            </p>
          ) : (
            <Ranked
              rows={entries
                .toSorted(([, a], [, b]) =>
                  byCost ? b.cost_usd - a.cost_usd : b.requests - a.requests,
                )
                .slice(0, 8)
                .map(([name, sums]) => ({
                  name,
                  value: byCost ? sums.cost_usd : sums.requests,
                  text: byCost ? usd(sums.cost_usd) : plural(sums.requests, "call"),
                  note: byCost ? plural(sums.requests, "call") : null,
                }))}
            />
          )}
        </Panel>
      );
    })}
  </div>
);

// --- Receipts ----------------------------------------------------------------------------------------------------------

const OUTCOMES: Record<string, [string, string]> = {
  answered: ["Answered", "good"],
  refused: ["Refused", "warn"],
  failed: ["Failed", "bad"],
  client_left: ["Caller left", ""],
  rejected: ["Rejected", "warn"],
};

const PAGE = 50;
const CHAIN_MOST = 1000;

const page = (name: string | null, limit: number, before?: number | null) =>
  call("get", "/usage/requests", {
    query: { ...(name ? { key: name } : {}), limit, ...(before ? { before } : {}) },
  });

/** The newest receipts, at most `CHAIN_MOST`. */
async function newest(name: string | null): Promise<Receipt[]> {
  const receipts: Receipt[] = [];
  let before: number | null = null;
  do {
    const { data, next_before } = await page(name, 100, before);
    receipts.push(...data);
    before = next_before;
  } while (before !== null && receipts.length < CHAIN_MOST);
  return receipts;
}

/** The attempts of a call after each other, as bars in time. */
export function Attempts({ attempts }: { attempts: Receipt["attempts"] }) {
  const total = Math.max(
    1,
    attempts.reduce((sum, { duration_ms }) => sum + duration_ms, 0),
  );
  let from = 0;
  return (
    <ol class="attempts">
      {attempts.map((attempt, i) => {
        const left = (100 * from) / total;
        from += attempt.duration_ms;
        return (
          <li key={i}>
            <span class="name">
              <bdi>
                {attempt.provider}/{attempt.model}
              </bdi>
            </span>
            <span class="track">
              <span
                class={attempt.outcome === "ok" ? "ok" : "bad"}
                style={{
                  left: `${left}%`,
                  width: `${Math.max(0.5, (100 * attempt.duration_ms) / total)}%`,
                }}
              />
            </span>
            <span class="num">{duration(attempt.duration_ms)}</span>
            <span>
              <Badge tone={attempt.outcome === "ok" ? "good" : "bad"}>
                {attempt.outcome.replaceAll("_", " ")}
              </Badge>
            </span>
            <span class="num">
              {attempt.cost_micro_usd === null ? "–" : microUsd(attempt.cost_micro_usd)}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

export function ReceiptDetail({ receipt }: { receipt: Receipt }) {
  const facts: [string, preact.ComponentChildren][] = [
    ["Receipt", <code>{receipt.id}</code>],
    [
      "Request id",
      <code>
        <bdi>{receipt.request_id}</bdi>
      </code>,
    ],
    ["Project", receipt.project === null ? "–" : <bdi>{receipt.project}</bdi>],
    ["Stream", receipt.stream ? "yes" : "no"],
    [
      "Input",
      `${receipt.prompt_tokens === null ? "unknown" : count(receipt.prompt_tokens)} tokens${receipt.cached_tokens ? `, ${count(receipt.cached_tokens)} cached` : ""}`,
    ],
    [
      "Output",
      `${receipt.completion_tokens === null ? "unknown" : count(receipt.completion_tokens)} tokens${receipt.reasoning_tokens ? `, ${count(receipt.reasoning_tokens)} of reasoning` : ""}`,
    ],
    [
      "Charge",
      receipt.estimated
        ? "partly estimated: the provider did not report all usage"
        : receipt.capped
          ? "capped: the provider reported more than can be right"
          : "as the provider reported",
    ],
    ["Hash", <code class="wrap">{receipt.hash}</code>],
    ["Previous", <code class="wrap">{receipt.previous}</code>],
  ];
  return (
    <div class="receipt">
      <Attempts attempts={receipt.attempts} />
      <Facts of={facts} />
    </div>
  );
}

/** The columns of a call, from its model on. */
export const CALL_COLUMNS = (
  <>
    <th scope="col">Model</th>
    <th scope="col">Outcome</th>
    <th scope="col" class="num">
      Tokens in, out
    </th>
    <th scope="col" class="num">
      Cost
    </th>
    <th scope="col" class="num">
      First token
    </th>
    <th scope="col" class="num">
      Duration
    </th>
  </>
);

/** The outcome of a call, and its status if it failed. */
export function Outcome({ of }: { of: { outcome: string; status: number } }) {
  const [text, tone] = OUTCOMES[of.outcome] ?? [of.outcome, ""];
  return (
    <>
      <Badge tone={tone}>{text}</Badge>
      {of.status !== 200 && <span class="muted"> {of.status}</span>}
    </>
  );
}

/** The cells of these columns. `note` follows the outcome. */
export function CallCells({ of, note }: { of: Receipt; note?: preact.ComponentChildren }) {
  return (
    <>
      <td class="clip">
        <bdi>
          {of.provider}/{of.model}
        </bdi>
        {of.attempts.length > 1 && (
          <span class="muted"> · {count(of.attempts.length)} attempts</span>
        )}
      </td>
      <td class="line">
        <Outcome of={of} />
        {note}
      </td>
      <td class="num">
        {of.prompt_tokens === null ? "–" : count(of.prompt_tokens)},{" "}
        {of.completion_tokens === null ? "–" : count(of.completion_tokens)}
      </td>
      <td class="num">
        {of.cost_micro_usd === null ? (
          <span class="muted" title="The price of the model is not known.">
            unknown
          </span>
        ) : (
          microUsd(of.cost_micro_usd)
        )}
      </td>
      <td class="num">{duration(of.first_token_ms)}</td>
      <td class="num">{duration(of.duration_ms)}</td>
    </>
  );
}

/** The time of a call, which opens and closes its details: the parameter `name` of the URL. */
export const CallTime = (props: {
  of: Pick<Receipt, "id" | "time">;
  name: string;
  isOpen: boolean;
}) => (
  <td>
    <button
      type="button"
      class="link"
      aria-expanded={props.isOpen}
      onClick={() => setQuery({ [props.name]: props.isOpen ? null : props.of.id })}
    >
      <Time at={props.of.time} />
    </button>
  </td>
);

export function Receipts({ name, usage }: { name: string | null; usage: Usage }) {
  const receipts = usePages(
    `receipts:${name ?? ""}`,
    async (before: number | null) => {
      const { data, next_before } = await page(name, PAGE, before);
      return { data, next: next_before };
    },
    ({ id }) => id,
    10,
  );
  const [busy, setBusy] = useState("");
  const [verdict, setVerdict] = useState<(Verdict & { total: number }) | null>(null);
  const open = queryOf("receipt");
  const list = receipts.data ?? [];
  const act = (what: string, run: () => Promise<void>) => {
    setBusy(what);
    run()
      .catch((error: Error) => toast(error.message, { bad: true }))
      .finally(() => setBusy(""));
  };
  return (
    <Panel
      flush
      title="Receipts"
      actions={
        <>
          {verdict && (
            <span class={verdict.intact ? "verdict good" : "verdict bad"} role="status">
              <Icon name={verdict.intact ? "check" : "warn"} />{" "}
              {verdict.intact
                ? `${plural(verdict.checked, "receipt")} verified in this browser${verdict.checked < verdict.total ? `, of ${count(verdict.total)}` : ""}`
                : verdict.reason}
            </span>
          )}
          <button
            type="button"
            disabled={busy !== "" || list.length === 0}
            onClick={() =>
              act("verify", async () => {
                const chain = await newest(name);
                const newestSeq = chain[0]?.seq;
                const head = newestSeq === usage.receipts.count ? usage.receipts.head : undefined;
                setVerdict({ ...(await verifyReceipts(chain, head)), total: newestSeq ?? 0 });
              })
            }
          >
            {busy === "verify" ? "Verifying…" : "Verify chain"}
          </button>
          <button
            type="button"
            disabled={busy !== "" || list.length === 0}
            onClick={() =>
              act("csv", async () => {
                const columns = [
                  ...([
                    "seq",
                    "id",
                    "request_id",
                    "time",
                    "project",
                    "provider",
                    "model",
                    "status",
                    "outcome",
                  ] as const),
                  ...([
                    "prompt_tokens",
                    "cached_tokens",
                    "completion_tokens",
                    "reasoning_tokens",
                  ] as const),
                  ...(["cost_micro_usd", "first_token_ms", "duration_ms", "hash"] as const),
                ];
                const rows = (await newest(name)).map((receipt) =>
                  columns.map((column) => receipt[column]),
                );
                save(`receipts-${usage.key}.csv`, csv([[...columns], ...rows]), "text/csv");
              })
            }
          >
            <Icon name="down" /> CSV
          </button>
        </>
      }
    >
      <Show of={receipts} rows={4}>
        {() =>
          list.length === 0 ? (
            <Empty icon="activity" title="No calls yet">
              <p>
                Every call that reaches a provider leaves a receipt. It never contains prompts or
                responses.
              </p>
            </Empty>
          ) : (
            <div class="scroll" tabIndex={0} role="group" aria-label="Receipts">
              <table class="rows">
                <thead>
                  <tr>
                    <th scope="col">Time</th>
                    {CALL_COLUMNS}
                  </tr>
                </thead>
                <tbody>
                  {list.map((receipt) => {
                    const isOpen = open === receipt.id;
                    return (
                      <Fragment key={receipt.id}>
                        <tr>
                          <CallTime of={receipt} name="receipt" isOpen={isOpen} />
                          <CallCells of={receipt} />
                        </tr>
                        {isOpen && (
                          <tr class="detail">
                            <td colSpan={7}>
                              <ReceiptDetail receipt={receipt} />
                            </td>
                          </tr>
                        )}
                      </Fragment>
                    );
                  })}
                </tbody>
              </table>
            </div>
          )
        }
      </Show>
      {list.length > 0 && receipts.hasMore && (
        <More
          of={receipts}
          label="Older receipts"
          text={`${plural(list.length, "receipt")} shown`}
        />
      )}
    </Panel>
  );
}
