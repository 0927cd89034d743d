//! The audit trail, newest first. Its chain is computed in the browser as it is read, so that the page does not depend on what the
//! gateway claims about it; the gateway's own check also compares the tables of keys and settings with the trail.

import { Fragment } from "preact";
import { useState } from "preact/hooks";
import { call, type Schemas } from "../api";
import { AuditChain } from "../chain";
import { reload, useData } from "../data";
import { count, csv, plural, save } from "../format";
import { queryOf, setQuery, to } from "../router";
import { SettingsTabs } from "../settings-tabs";
import {
  Badge,
  Copy,
  Empty,
  Filter,
  Icon,
  Page,
  Pager,
  Panel,
  Show,
  Time,
  toast,
} from "../ui/basic";

type Entry = Schemas["AuditEntry"];
type Verdict = Schemas["AuditIntact"] | Schemas["AuditBroken"] | Schemas["AuditDiffers"];

const PAGE = 50;
const STORE = "gatehouse.audit-head";
interface SavedHead {
  head: string;
  entries: number;
  at: string;
}

/** Reads the rest of the trail; what was read before is kept. */
const read: { chain: AuditChain; entries: (Entry & { hash: string })[] } = {
  chain: new AuditChain(),
  entries: [],
};
async function load() {
  let next: number | null = read.chain.checked;
  while (next !== null && read.chain.broken === null) {
    const page: Schemas["AuditPage"] = await call("get", "/v0/audit", {
      query: { after: next, limit: 1000 },
    });
    await read.chain.follow(page.entries);
    for (const { entry, hash } of page.entries)
      read.entries.push({ ...(JSON.parse(entry) as Entry), hash });
    next = page.next;
  }
  return {
    entries: read.entries,
    checked: read.chain.checked,
    head: read.chain.head,
    broken: read.chain.broken,
  };
}

const ACTIONS: Record<string, string> = {
  "request.created": "Created a request",
  "request.updated": "Changed a request",
  "request.approved": "Approved a request",
  "request.declined": "Declined a request",
  "request.deleted": "Deleted a request",
  "key.created": "Created a key",
  "key.updated": "Changed a key",
  "key.rotated": "Rotated a key",
  "key.revoked": "Revoked a key",
  "key.claimed": "Claimed a key",
  "setting.changed": "Changed a setting",
  "setting.removed": "Removed a setting",
  "lane.cooldown": "Paused a lane",
  "lane.resume": "Resumed a lane",
};

function savedHead(): SavedHead | null {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "null") as SavedHead | null;
  } catch {
    return null;
  }
}

export default function Audit() {
  const trail = useData("audit", load, 10);
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const [busy, setBusy] = useState(false);
  const [saved, setSaved] = useState(savedHead);
  const search = queryOf("q").trim().toLowerCase();
  const page = Math.max(1, Number(queryOf("page", "1")) || 1);
  const open = Number(queryOf("entry"));
  const found = (trail.data?.entries ?? [])
    .filter((entry) => search === "" || JSON.stringify(entry).toLowerCase().includes(search))
    .toReversed();
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const at = Math.min(page, pages);
  const since = saved && read.chain.heads.get(saved.head);
  return (
    <Page
      title="Audit"
      lead="Every change by an operator, in a chain of hashes: a changed, removed or inserted entry breaks it."
      actions={
        <>
          <button
            type="button"
            disabled={found.length === 0}
            onClick={() =>
              save(
                "audit.csv",
                csv([
                  ["seq", "at", "actor", "action", "subject", "detail", "hash"],
                  ...found.map((entry) => [
                    entry.seq,
                    entry.at,
                    entry.actor,
                    entry.action,
                    entry.subject,
                    JSON.stringify(entry.detail),
                    entry.hash,
                  ]),
                ]),
                "text/csv",
              )
            }
          >
            <Icon name="down" /> CSV
          </button>
          <button
            type="button"
            class="primary"
            disabled={busy}
            onClick={() => {
              setBusy(true);
              void reload("audit");
              call("get", "/v0/audit/verify")
                .then(setVerdict, (error: Error) => toast(error.message, { bad: true }))
                .finally(() => setBusy(false));
            }}
          >
            {busy ? "Verifying…" : "Verify now"}
          </button>
        </>
      }
    >
      <SettingsTabs />
      <Show of={trail} rows={10}>
        {(data) =>
          data.entries.length === 0 && data.broken === null ? (
            <Empty icon="audit" title="Nothing has been changed yet">
              <p>Approvals, keys, settings and pauses appear here, with their time and operator.</p>
            </Empty>
          ) : (
            <>
              <div class="checks">
                <p class={data.broken ? "verdict bad" : "verdict good"} role="status">
                  <Icon name={data.broken ? "warn" : "check"} />
                  <span>
                    {data.broken
                      ? `The chain is broken. ${data.broken}`
                      : `${plural(data.checked, "entry", "entries")} verified in this browser.`}
                  </span>
                </p>
                {verdict && (
                  <p class={verdict.intact ? "verdict good" : "verdict bad"} role="status">
                    <Icon name={verdict.intact ? "check" : "warn"} />
                    <span>
                      {verdict.intact
                        ? `The gateway agrees: ${plural(verdict.entries, "entry", "entries")}, and keys and settings are as the trail implies.`
                        : `The gateway reports: ${"reason" in verdict ? verdict.reason : "the trail does not verify"}`}
                      {"differences" in verdict && (
                        <ul>
                          {verdict.differences.map(({ name, what }) => (
                            <li key={name + what}>
                              <bdi>{name}</bdi>: {what}
                            </li>
                          ))}
                        </ul>
                      )}
                    </span>
                  </p>
                )}
                {saved && (
                  <p class={since === undefined ? "verdict bad" : "verdict good"}>
                    <Icon name={since === undefined ? "warn" : "check"} />
                    <span>
                      {since === undefined
                        ? "The head that was saved "
                        : `Entry ${count(since ?? 0)} still has the head that was saved `}
                      <Time at={saved.at} />
                      {since === undefined
                        ? " is not part of this trail: it was cut or rewritten."
                        : "."}
                    </span>
                  </p>
                )}
                <p class="head-line">
                  <span class="muted">Head</span> <code class="wrap">{data.head}</code>{" "}
                  <Copy text={data.head} />
                  <button
                    type="button"
                    class="copy"
                    title="Keeps the head in this browser, and compares it with the trail from now on."
                    onClick={() => {
                      const next = {
                        head: data.head,
                        entries: data.checked,
                        at: new Date().toISOString(),
                      };
                      localStorage.setItem(STORE, JSON.stringify(next));
                      setSaved(next);
                      toast("The head is saved in this browser.");
                    }}
                  >
                    Save head
                  </button>
                </p>
              </div>
              <div class="tools">
                <Filter
                  label="Filter by operator, action, subject, value"
                  value={queryOf("q")}
                  onValue={(q) => setQuery({ q, page: null })}
                />
              </div>
              <Panel flush>
                <div class="scroll" tabIndex={0} role="group" aria-label="Audit entries">
                  <table class="rows">
                    <thead>
                      <tr>
                        <th scope="col" class="num">
                          No.
                        </th>
                        <th scope="col">Time</th>
                        <th scope="col">Operator</th>
                        <th scope="col">Action</th>
                        <th scope="col">Subject</th>
                      </tr>
                    </thead>
                    <tbody>
                      {found.slice((at - 1) * PAGE, at * PAGE).map((entry) => (
                        <Fragment key={entry.seq}>
                          <tr key={entry.seq}>
                            <td class="num">
                              <button
                                type="button"
                                class="link"
                                aria-expanded={open === entry.seq}
                                aria-label={`Entry ${entry.seq}`}
                                onClick={() =>
                                  setQuery({ entry: open === entry.seq ? null : String(entry.seq) })
                                }
                              >
                                {count(entry.seq)}
                              </button>
                            </td>
                            <td>
                              <Time at={entry.at} />
                            </td>
                            <td>
                              <bdi>{entry.actor}</bdi>
                            </td>
                            <td>
                              <Badge
                                tone={
                                  /revoked|declined|deleted|removed/.test(entry.action)
                                    ? "bad"
                                    : /created|approved|claimed/.test(entry.action)
                                      ? "good"
                                      : ""
                                }
                              >
                                {ACTIONS[entry.action] ?? entry.action}
                              </Badge>
                            </td>
                            <td class="clip">
                              {entry.action.startsWith("key.") && entry.action !== "key.revoked" ? (
                                <a href={to(["keys", entry.subject])}>{entry.subject}</a>
                              ) : (
                                <bdi>{entry.subject}</bdi>
                              )}
                            </td>
                          </tr>
                          {open === entry.seq && (
                            <tr key={`${entry.seq} detail`} class="detail">
                              <td colSpan={5}>
                                <pre class="wrap">{JSON.stringify(entry.detail, null, 2)}</pre>
                                <p class="muted">
                                  Hash <code class="wrap">{entry.hash}</code>
                                </p>
                              </td>
                            </tr>
                          )}
                        </Fragment>
                      ))}
                    </tbody>
                  </table>
                </div>
              </Panel>
              <Pager
                page={at}
                pages={pages}
                total={plural(found.length, "entry", "entries")}
                onPage={(next) => setQuery({ page: next === 1 ? null : String(next) })}
              />
            </>
          )
        }
      </Show>
    </Page>
  );
}
