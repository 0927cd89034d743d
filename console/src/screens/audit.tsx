//! The audit trail, newest first. Its chain is computed in the browser as it is read, so that the page does not depend on what the
//! gateway claims about it; the gateway's own check also compares the tables of keys and settings with the trail.

import { Fragment } from "preact";
import { useRef, useState } from "preact/hooks";
import { call, type Schemas } from "../api";
import { AuditChain } from "../chain";
import { reload, useData, usePages, useSettled } from "../data";
import { count, csv, plural, save } from "../format";
import { queryOf, setQuery, to } from "../router";
import { SettingsTabs } from "../settings-tabs";
import {
  Badge,
  Copy,
  Empty,
  Filter,
  Icon,
  More,
  Page,
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

const chain = new AuditChain();
/** True once the end of the chain was reached: from then on only new entries are read. */
let isWhole = false;
/**
 * Follows the chain for a thousand entries, which a short trail does not have, or to its end. What was followed before is not
 * read again.
 */
async function follow(toEnd: boolean) {
  const isEnough = !toEnd && !isWhole && chain.checked > 0;
  let next: number | null = isEnough ? null : chain.checked;
  while (next !== null && chain.broken === null) {
    const page: Schemas["AuditPage"] = await call("get", "/v0/audit", {
      query: { after: next, limit: 1000 },
    });
    await chain.follow(page.entries);
    isWhole ||= page.next === null;
    next = toEnd || isWhole ? page.next : null;
  }
  return { checked: chain.checked, head: chain.head, broken: chain.broken, isWhole };
}

/** A page of the list, newest first. */
async function load(q: string, limit: number, after: number | null) {
  const page = await call("get", "/v0/audit", {
    query: { order: "desc", limit, ...(q === "" ? {} : { q }), ...(after ? { after } : {}) },
  });
  const data = page.entries.map(({ entry, hash }) => ({ ...(JSON.parse(entry) as Entry), hash }));
  return { data, next: page.next };
}

/** All entries of the list. */
async function loadAll(q: string) {
  const all = [];
  let after: number | null = null;
  do {
    const page: Awaited<ReturnType<typeof load>> = await load(q, 1000, after);
    all.push(...page.data);
    after = page.next;
  } while (after !== null);
  return all;
}

const ACTIONS: Record<string, string> = {
  "request.created": "Created a request",
  "request.updated": "Changed a request",
  "request.approved": "Approved a request",
  "request.increase_approved": "Raised the limits of a key",
  "request.declined": "Declined a request",
  "request.deleted": "Deleted a request",
  "key.created": "Created a key",
  "key.updated": "Changed a key",
  "key.rotated": "Rotated a key",
  "key.revoked": "Revoked a key",
  "key.claimed": "Claimed a key",
  "provider_key.added": "Added a provider key",
  "provider_key.changed": "Changed a provider key",
  "provider_key.deleted": "Deleted a provider key",
  "provider_keys.encrypted": "Encrypted provider keys again",
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

/** The head of the chain, which the browser can keep and compare with later ones. */
const HeadLine = (props: {
  head: string;
  entries: number;
  onSaved: (saved: SavedHead) => void;
}) => (
  <p class="head-line">
    <span class="muted">Head</span> <code class="wrap">{props.head}</code>{" "}
    <Copy text={props.head} />
    <button
      type="button"
      class="copy"
      title="Keeps the head in this browser, and compares it with the trail from now on."
      onClick={() => {
        const { head, entries } = props;
        const next = { head, entries, at: new Date().toISOString() };
        localStorage.setItem(STORE, JSON.stringify(next));
        props.onSaved(next);
        toast("The head is saved in this browser.");
      }}
    >
      Save head
    </button>
  </p>
);

export default function Audit() {
  const q = useSettled(queryOf("q").trim());
  const trail = usePages(
    `audit:list:${q}`,
    (after: number | null) => load(q, PAGE, after),
    ({ seq }) => seq,
    10,
  );
  const isAsked = useRef(false);
  const checked = useData("audit:chain", () => follow(isAsked.current), 30);
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const [busy, setBusy] = useState(false);
  const [saved, setSaved] = useState(savedHead);
  const open = Number(queryOf("entry"));
  const since = saved && chain.heads.get(saved.head);
  const exported = async () => {
    const columns = ["seq", "at", "actor", "action", "subject", "detail", "hash"];
    const rows = (await loadAll(q)).map((entry) => [
      entry.seq,
      entry.at,
      entry.actor,
      entry.action,
      entry.subject,
      JSON.stringify(entry.detail),
      entry.hash,
    ]);
    save("audit.csv", csv([columns, ...rows]), "text/csv");
  };
  return (
    <Page
      title="Audit"
      lead="Every change by an operator, in a chain of hashes: a changed, removed or inserted entry breaks it."
      actions={
        <>
          <button
            type="button"
            disabled={!trail.data?.length}
            onClick={() =>
              void exported().catch((error: Error) => toast(error.message, { bad: true }))
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
              isAsked.current = true;
              Promise.all([call("get", "/v0/audit/verify"), reload("audit")])
                .then(
                  ([found]) => setVerdict(found),
                  (error: Error) => toast(error.message, { bad: true }),
                )
                .finally(() => setBusy(false));
            }}
          >
            {busy ? "Verifying…" : "Verify now"}
          </button>
        </>
      }
    >
      <SettingsTabs />
      <div class="checks">
        {checked.data ? (
          <p class={checked.data.broken ? "verdict bad" : "verdict good"} role="status">
            <Icon name={checked.data.broken ? "warn" : "check"} />
            <span>
              {checked.data.broken
                ? `The chain is broken. ${checked.data.broken}`
                : checked.data.isWhole
                  ? `${plural(checked.data.checked, "entry", "entries")} verified in this browser.`
                  : `The first ${count(checked.data.checked)} entries are verified in this browser. Verify now reads all.`}
            </span>
          </p>
        ) : (
          <p class="verdict" role="status">
            {checked.error ? `The chain was not verified: ${checked.error.message}` : "Verifying…"}
          </p>
        )}
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
        {saved && checked.data?.isWhole && (
          <p class={since === undefined ? "verdict bad" : "verdict good"}>
            <Icon name={since === undefined ? "warn" : "check"} />
            <span>
              {since === undefined
                ? "The head that was saved "
                : `Entry ${count(since ?? 0)} still has the head that was saved `}
              <Time at={saved.at} />
              {since === undefined ? " is not part of this trail: it was cut or rewritten." : "."}
            </span>
          </p>
        )}
        {checked.data?.isWhole && (
          <HeadLine head={checked.data.head} entries={checked.data.checked} onSaved={setSaved} />
        )}
      </div>
      <div class="tools">
        <Filter
          label="Filter by operator, action, subject, value"
          value={queryOf("q")}
          onValue={(text) => setQuery({ q: text })}
        />
      </div>
      <Show of={trail} rows={10}>
        {(list) =>
          list.length === 0 ? (
            q === "" ? (
              <Empty icon="audit" title="Nothing has been changed yet">
                <p>
                  Approvals, keys, settings and pauses appear here, with their time and operator.
                </p>
              </Empty>
            ) : (
              <Empty icon="search" title="No entry matches" />
            )
          ) : (
            <>
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
                      {list.map((entry) => (
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
                                    : /created|approved|claimed|added/.test(entry.action)
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
              <More
                of={trail}
                label="Older entries"
                text={`${plural(list.length, "entry", "entries")} shown`}
              />
            </>
          )
        }
      </Show>
    </Page>
  );
}
