//! Activity: who spends what, grouped and filtered, and the calls of all keys, newest first.

import { Fragment } from "preact";
import { call, errorOf, send, type Schemas } from "../api";
import { live, useData, usePages } from "../data";
import { count, duration, percent, plural, save, short, usd } from "../format";
import { place, queryOf, setQuery, to } from "../router";
import {
  MeasureChoice,
  Range,
  SpendingChart,
  filterOf,
  groupName,
  keyLink,
  measureChosen,
  measureOf,
  rangeOf,
  startOf,
  unpricedNote,
  useSpending,
  type Filters,
  type Group,
} from "../spending";
import { Chosen, Empty, Icon, More, Page, Panel, Show, Stat, Tabs, Time, toast } from "../ui/basic";
import { CALL_COLUMNS, CallCells, CallTime, Outcome, ReceiptDetail } from "../usage";

const GROUPS: [Group, string][] = [
  ["key", "Key"],
  ["model", "Model"],
  ["provider", "Provider"],
  ["project", "Project"],
  ["operation", "Operation"],
];

/** The number of groups of the table. */
const ROWS = 200;

function filtersOf(): Filters {
  const filters: Filters = {};
  for (const [name] of GROUPS) {
    const value = place.value.query.get(name);
    if (value !== null && value !== "") filters[name] = value;
  }
  return filters;
}

const ChosenFilters = () => (
  <>
    {GROUPS.map(([name, label]) => (
      <Chosen key={name} name={name} label={label} />
    ))}
  </>
);

// --- Usage -------------------------------------------------------------------------------------------------------------

function Usage() {
  const days = rangeOf();
  const measure = measureChosen();
  const group = GROUPS.find(([name]) => name === queryOf("by"))?.[0] ?? "key";
  const filters = filtersOf();
  const spans = useSpending(days, group, { buckets: true }, filters);
  const sums = useSpending(days, group, { buckets: false, limit: ROWS }, filters);
  const exported = async () => {
    const query = new URLSearchParams({
      from: startOf(days).toISOString(),
      group_by: group,
      sort: "cost",
      limit: "10000",
      ...filters,
    });
    const response = await send("get", `/v0/usage?${query}`, { headers: { accept: "text/csv" } });
    if (!response.ok) throw await errorOf(response);
    save(`usage-by-${group}.csv`, await response.text(), "text/csv");
  };
  return (
    <>
      <div class="tools">
        <div class="segmented" role="group" aria-label="Grouped by">
          {GROUPS.map(([name, label]) => (
            <button
              key={name}
              type="button"
              aria-pressed={group === name}
              onClick={() => setQuery({ by: name === "key" ? null : name })}
            >
              {label}
            </button>
          ))}
        </div>
        <ChosenFilters />
        <span class="fill" />
        <button
          type="button"
          onClick={() =>
            void exported().catch((error: Error) => toast(error.message, { bad: true }))
          }
        >
          <Icon name="down" /> CSV
        </button>
      </div>
      <Show of={sums} rows={2}>
        {({ totals }) => (
          <div class="stats">
            <Stat label="Cost" value={usd(totals.cost_usd)} note={unpricedNote(totals)} />
            <Stat
              label="Calls"
              value={short(totals.requests)}
              note={`${count(totals.failed)} failed`}
            />
            <Stat
              label="Success"
              value={totals.requests > 0 ? percent(totals.successful / totals.requests) : "–"}
              tone={totals.requests > 0 && totals.successful / totals.requests < 0.9 ? "bad" : ""}
            />
            <Stat
              label="Input"
              value={short(totals.prompt_tokens)}
              note={`tokens, ${short(totals.cached_tokens)} cached`}
            />
            <Stat label="Output" value={short(totals.completion_tokens)} note="tokens" />
            <Stat
              label="First token"
              value={duration(totals.avg_first_token_ms)}
              note="on average"
            />
          </div>
        )}
      </Show>
      <Panel title={days <= 1 ? "By hour (UTC)" : "By day (UTC)"} actions={<MeasureChoice />}>
        <Show of={spans} rows={5}>
          {(data) => (
            <SpendingChart
              of={data}
              days={days}
              measure={measure}
              group={group}
              label={`${measure} by ${group}`}
            />
          )}
        </Show>
      </Panel>
      <Panel flush>
        <Show of={sums}>
          {({ data, totals, has_more }) => {
            if (data.length === 0)
              return (
                <Empty icon="activity" title="No calls in this range">
                  <p>A call is counted within about 15 seconds after its end.</p>
                </Empty>
              );
            const all = measureOf(totals, measure);
            return (
              <div class="scroll" tabIndex={0} role="group" aria-label="Sums">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">{GROUPS.find(([name]) => name === group)?.[1]}</th>
                      <th scope="col" class="num">
                        Share
                      </th>
                      <th scope="col" class="num">
                        Cost
                      </th>
                      <th scope="col" class="num">
                        Calls
                      </th>
                      <th scope="col" class="num">
                        Failed
                      </th>
                      <th scope="col" class="num">
                        Input
                      </th>
                      <th scope="col" class="num">
                        Output
                      </th>
                      <th scope="col" class="num">
                        First token
                      </th>
                      <th scope="col">
                        <span class="sr">Links</span>
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {data.map((entry) => {
                      const value = measureOf(entry, measure);
                      const filter = filterOf(entry, group);
                      return (
                        <tr key={entry.group}>
                          <th scope="row" class="clip">
                            {filter === null ? (
                              <bdi>{groupName(entry, group)}</bdi>
                            ) : (
                              <button
                                type="button"
                                class="link"
                                title="Filter by this"
                                onClick={() =>
                                  setQuery({
                                    [group]: filter,
                                    by: group === "model" ? null : "model",
                                  })
                                }
                              >
                                <bdi>{groupName(entry, group)}</bdi>
                              </button>
                            )}
                          </th>
                          <td class="num">{all > 0 ? percent(value / all) : "–"}</td>
                          <td class="num">{usd(entry.cost_usd)}</td>
                          <td class="num">{count(entry.requests)}</td>
                          <td class={entry.failed > 0 ? "num bad" : "num"}>
                            {count(entry.failed)}
                          </td>
                          <td class="num">{short(entry.prompt_tokens)}</td>
                          <td class="num">{short(entry.completion_tokens)}</td>
                          <td class="num">{duration(entry.avg_first_token_ms)}</td>
                          <td class="end">
                            {group === "key" && keyLink(entry) && <a href={keyLink(entry)}>Open</a>}{" "}
                            {filter !== null && (
                              <a href={to(["activity", "calls"], { ...filters, [group]: filter })}>
                                Calls
                              </a>
                            )}
                          </td>
                        </tr>
                      );
                    })}
                  </tbody>
                  <tfoot>
                    <tr>
                      <th scope="row">Total</th>
                      <td />
                      <td class="num">{usd(totals.cost_usd)}</td>
                      <td class="num">{count(totals.requests)}</td>
                      <td class="num">{count(totals.failed)}</td>
                      <td class="num">{short(totals.prompt_tokens)}</td>
                      <td class="num">{short(totals.completion_tokens)}</td>
                      <td class="num">{duration(totals.avg_first_token_ms)}</td>
                      <td />
                    </tr>
                  </tfoot>
                </table>
                {has_more && (
                  <p class="muted none">
                    More than {count(data.length)} rows: filter, or take the CSV.
                  </p>
                )}
              </div>
            );
          }}
        </Show>
      </Panel>
    </>
  );
}

// --- Calls -------------------------------------------------------------------------------------------------------------

type Rejected = Schemas["RejectedCall"];
type Call = Schemas["Call"] | Rejected;

/** Entries of rejected calls are counts, without a receipt. */
const isRejected = (call: Call): call is Rejected => call.outcome === "rejected";

/** The limit or the field at fault, and the number of the calls. */
function RejectedDetail({ of }: { of: Rejected }) {
  const facts: [string, preact.ComponentChildren][] = [
    ["Entry", <code>{of.id}</code>],
    [
      "Request id of the first",
      <code>
        <bdi>{of.request_id}</bdi>
      </code>,
    ],
    ["Limit or field", of.param === null ? "–" : <code>{of.param}</code>],
    ["Calls", count(of.count)],
    ["Last", <Time at={of.last_time} />],
  ];
  return (
    <div class="receipt">
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

const PAGE = 50;

/** The cells of an entry of rejected calls. */
const RejectedCells = ({ of, note }: { of: Rejected; note: preact.ComponentChildren }) => (
  <>
    <td class="muted">–</td>
    <td class="line">
      <Outcome of={of} />
      <span class="muted"> · {plural(of.count, "call")}</span>
      {note}
    </td>
    <td class="num muted" colSpan={4}>
      no provider was called
    </td>
  </>
);

/** The code of a failed call, which filters by it. */
const CodeFilter = ({ of }: { of: Call }) =>
  !of.code ? null : (
    <>
      {" "}
      <button
        type="button"
        class="link"
        title="Filter by this code"
        onClick={() => setQuery({ code: of.code ?? null })}
      >
        <bdi>{of.code}</bdi>
      </button>
    </>
  );

function Calls() {
  const filters = filtersOf();
  const failed = queryOf("failed") !== "";
  const code = queryOf("code");
  const open = queryOf("call");
  const query = {
    ...filters,
    ...(failed ? { failed: "true" as const } : {}),
    ...(code ? { code } : {}),
    limit: PAGE,
  };
  const calls = usePages(
    `calls:${JSON.stringify(query)}`,
    async (cursor: string | null) => {
      const page = await call("get", "/v0/calls", {
        query: cursor === null ? query : { ...query, cursor },
      });
      return { data: page.data, next: page.next_cursor };
    },
    ({ id }) => id,
    3,
  );
  const linked = useData(`call:${open}`, () =>
    open ? call("get", "/v0/calls/{id}", { path: { id: open } }) : Promise.resolve(null),
  );
  const list = calls.data ?? [];
  // A link to a call that is not among those that are loaded.
  const other =
    open !== "" && calls.data && !list.some(({ id }) => id === open) ? linked.data : null;
  const rows: Call[] = other ? [other as unknown as Call, ...list] : list;
  return (
    <>
      <div class="tools">
        <div class="segmented" role="group" aria-label="Outcome">
          <button type="button" aria-pressed={!failed} onClick={() => setQuery({ failed: null })}>
            All
          </button>
          <button type="button" aria-pressed={failed} onClick={() => setQuery({ failed: "1" })}>
            Failed
          </button>
        </div>
        <ChosenFilters />
        <Chosen name="code" label="Code" />
        <form
          class="jump"
          onSubmit={(event) => {
            event.preventDefault();
            const field = event.currentTarget.elements.namedItem("id") as HTMLInputElement;
            if (field.value.trim() !== "") setQuery({ call: field.value.trim() });
          }}
        >
          <input
            name="id"
            data-filter
            aria-label="Receipt or request id"
            placeholder="Receipt or request id"
            autocomplete="off"
          />
          <button type="submit">Find</button>
        </form>
        <span class="fill" />
        <span class="muted">{live.value ? "New calls appear by themselves." : "Paused"}</span>
      </div>
      {open !== "" && linked.error && (
        <p class="form-error wrap" role="alert">
          {linked.error.message}
        </p>
      )}
      <Panel flush>
        <Show of={calls} rows={10}>
          {() =>
            rows.length === 0 ? (
              <Empty
                icon="activity"
                title={
                  failed || Object.keys(filters).length > 0 ? "No call matches" : "No calls yet"
                }
              >
                <p>
                  Calls appear about ten seconds after their end, rejected ones as counts. They
                  never contain prompts or responses.
                </p>
              </Empty>
            ) : (
              <div class="scroll" tabIndex={0} role="group" aria-label="Calls">
                <table class="rows">
                  <thead>
                    <tr>
                      <th scope="col">Time</th>
                      <th scope="col">Key</th>
                      <th scope="col">Project</th>
                      {CALL_COLUMNS}
                    </tr>
                  </thead>
                  <tbody>
                    {rows.map((one) => {
                      const isOpen = open === one.id || open === one.request_id;
                      const isOfRing = one.key_id?.startsWith("ring:") ?? false;
                      const key = (isOfRing ? one.key_id : (one.key_name ?? one.key_id)) ?? "–";
                      return (
                        <Fragment key={one.id}>
                          <tr>
                            <CallTime of={one} name="call" isOpen={isOpen} />
                            <td class="clip">
                              <button
                                type="button"
                                class="link"
                                title="Filter by this key"
                                onClick={() => setQuery({ key })}
                              >
                                <bdi>{key}</bdi>
                              </button>
                            </td>
                            <td class="clip">
                              {one.project === null ? (
                                <span class="muted">–</span>
                              ) : (
                                <bdi>{one.project}</bdi>
                              )}
                            </td>
                            {isRejected(one) ? (
                              <RejectedCells of={one} note={<CodeFilter of={one} />} />
                            ) : (
                              <CallCells of={one} note={<CodeFilter of={one} />} />
                            )}
                          </tr>
                          {isOpen && (
                            <tr class="detail">
                              <td colSpan={9}>
                                {isRejected(one) ? (
                                  <RejectedDetail of={one} />
                                ) : (
                                  <ReceiptDetail receipt={one} />
                                )}
                                {one.key_name && !isOfRing && !isRejected(one) && (
                                  <a href={to(["keys", one.key_name], { receipt: one.id })}>
                                    The receipts of this key, with their chain
                                  </a>
                                )}
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
      </Panel>
      {rows.length > 0 && (
        <More of={calls} label="Older calls" text={`${plural(rows.length, "call")} shown`} />
      )}
    </>
  );
}

export default function Activity() {
  const tab = place.value.parts[1] ?? "usage";
  const filters = filtersOf();
  return (
    <Page
      title="Activity"
      lead={
        tab === "calls"
          ? "The last calls of all keys, newest first."
          : "Who spends what: sums over the calls of all keys."
      }
      actions={tab === "calls" ? null : <Range />}
    >
      <Tabs
        label="Activity"
        tabs={[
          { href: to(["activity"], filters), name: "Usage", current: tab === "usage" },
          { href: to(["activity", "calls"], filters), name: "Calls", current: tab === "calls" },
        ]}
      />
      {tab === "calls" ? <Calls /> : <Usage />}
    </Page>
  );
}
