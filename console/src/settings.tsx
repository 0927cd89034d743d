//! Run-time settings: every change is first tried (`dry_run`), and its consequence is shown before it is made.

import { useState } from "preact/hooks";
import { ApiError, type Schemas } from "./api";
import { reload } from "./data";
import { plural } from "./format";
import { setQuery } from "./router";
import { Badge, Dialog, Time, toast } from "./ui/basic";

export type Setting = Schemas["Setting"];
export type Change = Schemas["SettingChange"];

export const Source = ({ of }: { of: Setting }) => (
  <span title={of.changed_by ? `by ${of.changed_by}` : ""}>
    {of.source === "database" ? <Badge tone="accent">Set here</Badge> : <Badge>{of.source}</Badge>}
  </span>
);

/** The last cells of a row: the source, the last change, and the removal, which the query of the URL asks for. */
export const LastCells = ({ of }: { of: Setting }) => (
  <>
    <td>
      <Source of={of} />
    </td>
    <td>{of.changed_at ? <Time at={of.changed_at} /> : <span class="muted">–</span>}</td>
    <td class="end">
      {of.source === "database" && (
        <button
          type="button"
          aria-label={`Remove ${of.name}`}
          onClick={() => setQuery({ remove: of.name })}
        >
          {of.overrides ? "Reset" : "Remove"}
        </button>
      )}
    </td>
  </>
);

/** Two values of a setting, member by member. */
function Difference({ was, value }: { was: object | null; value: object | null }) {
  const before = (was ?? {}) as Record<string, unknown>;
  const after = (value ?? {}) as Record<string, unknown>;
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]),
  );
  const text = (of: unknown) =>
    of === undefined ? "–" : typeof of === "string" ? of : JSON.stringify(of);
  if (names.length === 0) return <p class="muted">Nothing changes.</p>;
  return (
    <table class="difference">
      <thead>
        <tr>
          <th scope="col">Field</th>
          <th scope="col">Now</th>
          <th scope="col">Then</th>
        </tr>
      </thead>
      <tbody>
        {names.map((name) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class="wrap">
              <bdi>{text(before[name])}</bdi>
            </td>
            <td class="wrap">
              <bdi>{text(after[name])}</bdi>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/**
 * A dialog in two steps: the form, then the consequence. `run(true)` tries the change, `run(false)` makes it.
 */
export function ChangeDialog(props: {
  title: string;
  /** Without a form the dialog begins with the consequence. */
  children?: preact.ComponentChildren;
  danger?: boolean;
  action?: string;
  disabled?: boolean;
  run: (dry: boolean) => Promise<Change>;
  done: string;
  reloads: string[];
  onClose: () => void;
}) {
  const [tried, setTried] = useState<Change | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  return (
    <Dialog title={props.title} wide onClose={props.onClose}>
      {(close) => {
        const attempt = () => {
          setBusy(true);
          setError(null);
          props
            .run(tried === null)
            .then(async (change) => {
              setBusy(false);
              if (tried === null) return setTried(change);
              close();
              toast(props.done);
              return reload(...props.reloads);
            })
            .catch((reason: ApiError) => {
              setBusy(false);
              setError(reason);
            });
        };
        return (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              attempt();
            }}
          >
            <div class="body">
              {tried === null ? (
                (props.children ?? <p>The consequence is shown before anything changes.</p>)
              ) : (
                <>
                  <p class={tried.affected_keys > 0 ? "note-box warn" : "note-box"} role="status">
                    {tried.affected_keys > 0
                      ? `${plural(tried.affected_keys, "key")} ${tried.affected_keys === 1 ? "is" : "are"} affected, within 10 seconds.`
                      : "No key is affected."}
                  </p>
                  <Difference was={tried.was} value={tried.value} />
                </>
              )}
              {error && (
                <p class="form-error wrap" role="alert">
                  {error.message}
                </p>
              )}
            </div>
            <footer>
              <button type="button" onClick={() => (tried === null ? close() : setTried(null))}>
                {tried === null ? "Cancel" : "Back"}
              </button>
              <button
                type="submit"
                class={props.danger && tried !== null ? "danger" : "primary"}
                disabled={busy || props.disabled}
              >
                {busy ? "Working…" : tried === null ? "Review" : (props.action ?? "Save")}
              </button>
            </footer>
          </form>
        );
      }}
    </Dialog>
  );
}
