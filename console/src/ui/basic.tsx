//! The parts that screens are made of: headings, states, dialogs, fields, times. Texts from outside are children or attributes,
//! which Preact escapes; no part sets HTML.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { ApiError } from "../api";
import { now, type Loaded } from "../data";
import { both, count, relative } from "../format";
import { queryOf, setQuery } from "../router";

// --- Icons: one path each, on a grid of 16 -----------------------------------------------------------------------------

const ICONS = {
  overview: "M2 9h4v5H2zM10 2h4v12h-4zM6 6h4v8H6z",
  requests: "M2 3h12v7h-3l-1.5 2h-3L5 10H2zM2 10v3.500h12V10",
  keys: "M10.500 2a3.500 3.500 0 1 1-3.300 4.700L2 12v2h2.500v-1.500H6V11h1.500l1-1.200M11 5.500h.01",
  policies:
    "M8 1.800 13.500 4v4c0 3-2.300 5.200-5.500 6.200C4.800 13.200 2.500 11 2.500 8V4zM5.500 8l1.800 1.800L10.700 6.500",
  activity: "M1.500 8.500h3l2-5.500 3 10 2-4.500h3",
  providers: "M2 2.500h12v4.500H2zM2 9h12v4.500H2zM4.500 4.750h.01M4.500 11.250h.01",
  models: "M8 1.500 14 5v6l-6 3.500L2 11V5zM2 5l6 3.500L14 5M8 8.500v6",
  lab: "M6 1.500h4M6.800 1.500v4.500L2.500 13.500h11L9.200 6V1.500M4.700 10h6.600",
  audit: "M3 1.500h7l3 3v10H3zM10 1.500v3h3M5.500 8h5M5.500 11h5",
  settings: "M2 4.500h7M12 4.500h2M2 11.500h2M7 11.500h7M9 3v3h3V3zM4 10v3h3v-3z",
  search: "M7 2.500a4.500 4.500 0 1 1 0 9 4.500 4.500 0 0 1 0-9M10.300 10.300 14 14",
  lock: "M3.500 7h9v7h-9zM5.500 7V4.500a2.500 2.500 0 0 1 5 0V7",
  menu: "M2 4h12M2 8h12M2 12h12",
  close: "M3.500 3.500l9 9M12.500 3.500l-9 9",
  copy: "M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3",
  check: "M3 8.500l3.200 3L13 4.500",
  plus: "M8 3v10M3 8h10",
  pause: "M5 3v10M11 3v10",
  play: "M4.500 2.500v11l8.500-5.500z",
  theme: "M8 2.500a5.500 5.500 0 1 0 0 11zM8 2.500a5.500 5.500 0 0 1 0 11",
  back: "M9.500 3.500 5 8l4.500 4.500",
  next: "M6.500 3.500 11 8l-4.500 4.500",
  warn: "M8 2 14.500 13.500h-13zM8 6.500v3.200M8 11.500h.01",
  down: "M8 2.500v8M4.500 7.500 8 11l3.500-3.500M3 13.500h10",
} as const;
export type IconName = keyof typeof ICONS;

export const Icon = ({ name }: { name: IconName }) => (
  <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
    <path d={ICONS[name]} />
  </svg>
);

// --- Messages ----------------------------------------------------------------------------------------------------------

interface Toast {
  id: number;
  text: string;
  bad: boolean;
  undo: (() => void) | null;
}
const toasts = signal<Toast[]>([]);
let toastId = 0;

/** A message at the edge of the page, for ten seconds; with `undo`, a button that takes the change back. */
export function toast(
  text: string,
  { bad = false, undo = null as (() => void) | null } = {},
): void {
  const id = ++toastId;
  toasts.value = [...toasts.value.slice(-2), { id, text, bad, undo }];
  setTimeout(() => (toasts.value = toasts.value.filter((other) => other.id !== id)), 10_000);
}

export const Toasts = () => (
  <div class="toasts" role="status" aria-live="polite">
    {toasts.value.map(({ id, text, bad, undo }) => {
      const drop = () => (toasts.value = toasts.value.filter((other) => other.id !== id));
      return (
        <div key={id} class={bad ? "toast bad" : "toast"}>
          <span>{text}</span>
          {undo && (
            <button
              type="button"
              class="link"
              onClick={() => {
                drop();
                undo();
              }}
            >
              Undo
            </button>
          )}
          <button type="button" class="icon-only" aria-label="Dismiss" onClick={drop}>
            <Icon name="close" />
          </button>
        </div>
      );
    })}
  </div>
);

// --- Page --------------------------------------------------------------------------------------------------------------

export function Page(props: {
  title: string;
  lead?: ComponentChildren;
  back?: { href: string; label: string };
  actions?: ComponentChildren;
  children: ComponentChildren;
}) {
  useEffect(() => {
    document.title = `${props.title} · Gatehouse`;
  }, [props.title]);
  return (
    <>
      <header class="page-head">
        <div>
          {props.back && (
            <a class="back" href={props.back.href}>
              <Icon name="back" /> {props.back.label}
            </a>
          )}
          <h1 class="wrap">{props.title}</h1>
          {props.lead && <p class="lead">{props.lead}</p>}
        </div>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
      {props.children}
    </>
  );
}

export const Panel = (props: {
  title?: ComponentChildren;
  actions?: ComponentChildren;
  flush?: boolean;
  children: ComponentChildren;
}) => (
  <section class={props.flush ? "panel flush" : "panel"}>
    {props.title !== undefined && (
      <header>
        <h2>{props.title}</h2>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
    )}
    {props.children}
  </section>
);

export const Stat = (props: {
  label: string;
  value: ComponentChildren;
  note?: ComponentChildren;
  href?: string;
  tone?: string;
}) => {
  const inner = (
    <>
      <span class="label">{props.label}</span>
      <span class={`value ${props.tone ?? ""}`}>{props.value}</span>
      <span class="note">{props.note ?? " "}</span>
    </>
  );
  return props.href ? (
    <a class="stat" href={props.href}>
      {inner}
    </a>
  ) : (
    <div class="stat">{inner}</div>
  );
};

export const Tabs = (props: {
  label: string;
  tabs: { href: string; name: string; current: boolean; n?: number | undefined }[];
}) => (
  <nav class="tabs" aria-label={props.label}>
    {props.tabs.map(({ href, name, current, n }) => (
      <a key={href} href={href} aria-current={current ? "page" : undefined}>
        {name}
        {n !== undefined && <span class="n">{count(n)}</span>}
      </a>
    ))}
  </nav>
);

export const Badge = ({ tone = "", children }: { tone?: string; children: ComponentChildren }) => (
  <span class={`badge ${tone}`}>{children}</span>
);

// --- States of data ----------------------------------------------------------------------------------------------------

export const Skeleton = ({ rows = 6 }: { rows?: number }) => (
  <div class="skeleton" role="status">
    <span class="sr">Loading</span>
    {Array.from({ length: rows }, (_, i) => (
      <div key={i} style={{ width: `${92 - ((i * 17) % 40)}%` }} />
    ))}
  </div>
);

export const Failure = ({ error, retry }: { error: ApiError; retry?: () => void }) => (
  <div class="state bad" role="alert">
    <Icon name="warn" />
    <h2>
      {error.offline
        ? "No connection"
        : error.status === 429
          ? "Too many requests"
          : "This could not be loaded"}
    </h2>
    <p class="wrap">{error.message}</p>
    {error.requestId && (
      <p class="muted">
        Request id <code>{error.requestId}</code>
      </p>
    )}
    {retry && (
      <button type="button" onClick={retry}>
        Try again
      </button>
    )}
  </div>
);

export const Empty = (props: { icon: IconName; title: string; children?: ComponentChildren }) => (
  <div class="state">
    <Icon name={props.icon} />
    <h2>{props.title}</h2>
    {props.children}
  </div>
);

/** The data, or the state before there are some. Data that could not be loaded again stay, with a note. */
export function Show<T>(props: {
  of: Loaded<T> & { retry: () => void };
  rows?: number;
  children: (data: T) => ComponentChildren;
}) {
  const { data, error, loading, retry } = props.of;
  if (data === null)
    return error ? <Failure error={error} retry={retry} /> : <Skeleton rows={props.rows ?? 6} />;
  return (
    <>
      {loading && <div class="progress" />}
      {error && (
        <p class="stale" role="status">
          <Icon name="warn" /> Not up to date: {error.message}{" "}
          <button type="button" class="link" onClick={retry}>
            Try again
          </button>
        </p>
      )}
      {props.children(data)}
    </>
  );
}

// --- Values ------------------------------------------------------------------------------------------------------------

export const Time = ({ at, none = "never" }: { at: string | null | undefined; none?: string }) =>
  at ? (
    <time dateTime={at} title={both(at)}>
      {relative(at, now.value)}
    </time>
  ) : (
    <span class="muted">{none}</span>
  );

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, setDone] = useState<"" | "copied" | "failed">("");
  return (
    <button
      type="button"
      class="copy"
      onClick={() =>
        void navigator.clipboard.writeText(text).then(
          () => {
            setDone("copied");
            setTimeout(() => setDone(""), 2000);
          },
          () => setDone("failed"),
        )
      }
    >
      <Icon name={done === "copied" ? "check" : "copy"} />{" "}
      {done === "copied" ? "Copied" : done === "failed" ? "Select and copy it yourself" : label}
    </button>
  );
}

/** A secret or link that is shown once. */
export const Secret = ({ text, label }: { text: string; label: string }) => (
  <div class="secret">
    <code aria-label={label} tabIndex={0}>
      {text}
    </code>
    <Copy text={text} />
  </div>
);

export const Code = ({ text, label }: { text: string; label: string }) => (
  <div class="code">
    <pre tabIndex={0} aria-label={label}>
      {text}
    </pre>
    <Copy text={text} />
  </div>
);

/** Names with their values. */
export const Facts = ({ of }: { of: [string, ComponentChildren][] }) => (
  <dl class="facts">
    {of.map(([name, value]) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd class="wrap">{value}</dd>
      </div>
    ))}
  </dl>
);

// --- Dialogs -----------------------------------------------------------------------------------------------------------

export function Dialog(props: {
  title: string;
  wide?: boolean;
  onClose: () => void;
  children: (close: () => void) => ComponentChildren;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    if (ref.current && !ref.current.open) ref.current.showModal();
  }, []);
  const close = () => ref.current?.close();
  return (
    <dialog ref={ref} class={props.wide ? "wide" : ""} aria-labelledby={id} onClose={props.onClose}>
      <header>
        <h2 id={id}>{props.title}</h2>
        <button type="button" class="icon-only" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      {props.children(close)}
    </dialog>
  );
}

/** A result in a dialog, which is read and closed. */
export const ResultDialog = (props: {
  title: string;
  wide?: boolean;
  onClose: () => void;
  children: (close: () => void) => ComponentChildren;
}) => (
  <Dialog title={props.title} wide={props.wide ?? false} onClose={props.onClose}>
    {(close) => (
      <>
        <div class="body">{props.children(close)}</div>
        <footer>
          <button type="button" class="primary" onClick={close}>
            Done
          </button>
        </footer>
      </>
    )}
  </Dialog>
);

/**
 * A form in a dialog. `submit` throws to show an error and to leave the dialog open.
 */
export function FormDialog(props: {
  title: string;
  action: string;
  danger?: boolean;
  wide?: boolean;
  disabled?: boolean;
  onClose: () => void;
  submit: () => Promise<unknown>;
  children: ComponentChildren;
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  return (
    <Dialog title={props.title} wide={props.wide ?? false} onClose={props.onClose}>
      {(close) => (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (busy) return;
            setBusy(true);
            setError(null);
            props.submit().then(close, (reason: ApiError) => {
              setError(reason);
              setBusy(false);
            });
          }}
        >
          <div class="body">
            {props.children}
            {error && (
              <p class="form-error wrap" role="alert">
                {error.message}
                {error.requestId && (
                  <>
                    {" "}
                    <span class="muted">
                      Request id <code>{error.requestId}</code>
                    </span>
                  </>
                )}
              </p>
            )}
          </div>
          <footer>
            <button type="button" onClick={close}>
              Cancel
            </button>
            <button
              type="submit"
              class={props.danger ? "danger" : "primary"}
              disabled={busy || props.disabled}
            >
              {busy ? "Working…" : props.action}
            </button>
          </footer>
        </form>
      )}
    </Dialog>
  );
}

/** Asks before what cannot be undone: the name must be typed. */
export function ConfirmName(props: {
  title: string;
  name: string;
  action: string;
  onClose: () => void;
  submit: () => Promise<unknown>;
  children: ComponentChildren;
}) {
  const [typed, setTyped] = useState("");
  return (
    <FormDialog {...props} danger disabled={typed.trim() !== props.name}>
      {props.children}
      <Field label={`Type ${props.name} to confirm`}>
        {(id) => (
          <input
            id={id}
            autofocus
            autocomplete="off"
            spellcheck={false}
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        )}
      </Field>
    </FormDialog>
  );
}

// --- Fields ------------------------------------------------------------------------------------------------------------

export function Field(props: {
  label: string;
  hint?: ComponentChildren;
  children: (id: string) => ComponentChildren;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {props.children(id)}
      {props.hint && <p class="hint">{props.hint}</p>}
    </div>
  );
}

interface InputProps {
  type?: "text" | "password" | "email" | "number" | "date";
  required?: boolean;
  autofocus?: boolean;
  readOnly?: boolean;
  spellcheck?: boolean;
  maxLength?: number;
  min?: string;
  max?: string;
  step?: string;
  placeholder?: string;
  /** The id of a `datalist`. */
  list?: string;
}

export const TextField = ({
  label,
  hint,
  value,
  onValue,
  ...rest
}: InputProps & {
  label: string;
  hint?: ComponentChildren;
  value: string;
  onValue: (value: string) => void;
}) => (
  <Field label={label} hint={hint}>
    {(id) => (
      <input
        id={id}
        autocomplete="off"
        {...(rest as object)}
        value={value}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
    )}
  </Field>
);

export const AreaField = (props: {
  label: string;
  hint?: ComponentChildren;
  value: string;
  rows?: number;
  mono?: boolean;
  placeholder?: string;
  onValue: (value: string) => void;
}) => (
  <Field label={props.label} hint={props.hint}>
    {(id) => (
      <textarea
        id={id}
        rows={props.rows ?? 3}
        class={props.mono ? "mono" : ""}
        spellcheck={!props.mono}
        placeholder={props.placeholder ?? ""}
        value={props.value}
        onInput={(event) => props.onValue(event.currentTarget.value)}
      />
    )}
  </Field>
);

export const SelectField = (props: {
  label: string;
  hint?: ComponentChildren;
  value: string;
  options: [string, string][];
  onValue: (value: string) => void;
}) => (
  <Field label={props.label} hint={props.hint}>
    {(id) => (
      <select
        id={id}
        value={props.value}
        onChange={(event) => props.onValue(event.currentTarget.value)}
      >
        {props.options.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    )}
  </Field>
);

export const Check = (props: {
  label: ComponentChildren;
  checked: boolean;
  onChecked: (checked: boolean) => void;
  hint?: ComponentChildren;
}) => (
  <label class="check">
    <input
      type="checkbox"
      checked={props.checked}
      onChange={(event) => props.onChecked(event.currentTarget.checked)}
    />
    <span>
      {props.label}
      {props.hint && <span class="hint">{props.hint}</span>}
    </span>
  </label>
);

/** A field that filters a list; the key `/` moves to it. */
export const Filter = (props: {
  label: string;
  value: string;
  onValue: (value: string) => void;
}) => (
  <div class="filter">
    <Icon name="search" />
    <input
      type="search"
      data-filter
      aria-label={props.label}
      placeholder={props.label}
      value={props.value}
      onInput={(event) => props.onValue(event.currentTarget.value)}
    />
  </div>
);

/** A filter of the URL that applies, with a button that removes it. */
export const Chosen = ({ name, label }: { name: string; label: string }) => {
  const value = queryOf(name);
  return value === "" ? null : (
    <button
      type="button"
      class="chosen"
      aria-label={`Remove the filter ${label}: ${value}`}
      onClick={() => setQuery({ [name]: null })}
    >
      {label}: <bdi>{value}</bdi> <Icon name="close" />
    </button>
  );
};

/** The number of entries that are shown, and the button that loads further ones. */
export const More = (props: {
  of: { hasMore: boolean; busy: boolean; more: () => Promise<void> };
  text: string;
  label: string;
}) => (
  <p class="pager">
    <span class="muted">{props.text}</span>
    {props.of.hasMore && (
      <button
        type="button"
        disabled={props.of.busy}
        onClick={() => props.of.more().catch((error: Error) => toast(error.message, { bad: true }))}
      >
        {props.of.busy ? "Loading…" : props.label}
      </button>
    )}
  </p>
);

/** Pages of a list with a number of each. */
export function Pager(props: {
  page: number;
  pages: number;
  onPage: (page: number) => void;
  total?: string;
}) {
  if (props.pages <= 1) return props.total ? <p class="pager muted">{props.total}</p> : null;
  return (
    <nav class="pager" aria-label="Pages">
      <span class="muted">
        {props.total && `${props.total} · `}page {count(props.page)} of {count(props.pages)}
      </span>
      <button type="button" disabled={props.page <= 1} onClick={() => props.onPage(props.page - 1)}>
        <Icon name="back" /> Previous
      </button>
      <button
        type="button"
        disabled={props.page >= props.pages}
        onClick={() => props.onPage(props.page + 1)}
      >
        Next <Icon name="next" />
      </button>
    </nav>
  );
}
