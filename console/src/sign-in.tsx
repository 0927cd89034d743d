//! The sign-in of both pages: a key, which stays in this tab.

import { useState } from "preact/hooks";
import { ApiError, CLOUDFLARE_ACCESS } from "./api";
import { accept, notice } from "./session";
import { forget } from "./data";

const KEY = /^gw_[0-9A-Za-z]{49}$/;

/** Words for a key that the gateway does not know, or null for another error. */
export function unknownKey(error: ApiError, key: string): string | null {
  if (error.status !== 401 || error.code === "ApiKeyExpired" || error.code === "ApiKeyDisabled")
    return null;
  if (!key.startsWith("gw_")) return "This is not a key of this gateway: keys begin with gw_.";
  if (!KEY.test(key)) return "This key is not complete: copy all of it, 52 characters.";
  return "The gateway does not know this key. It may be mistyped, or it was replaced or revoked.";
}

/** Words for a request that Cloudflare Access does not authenticate. */
const explainAccess = (error: ApiError): string =>
  error.status === 401
    ? "The gateway got no valid token of Cloudflare Access: is this address protected by it, and is it configured in the gateway?"
    : error.message;

export function SignIn(props: {
  title: string;
  lead: string;
  label: string;
  /** Throws if the gateway rejects the key. */
  check: (key: string) => Promise<unknown>;
  /** Words for a rejection, or null for those of the gateway. */
  explain: (error: ApiError, key: string) => string | null;
  /** Offer to sign in without a key, by Cloudflare Access. */
  access?: boolean;
  more?: preact.ComponentChildren;
}) {
  const [value, setValue] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const signIn = (key: string, wordsFor: (error: ApiError) => string) => {
    if (busy) return;
    setBusy(true);
    setError(null);
    props.check(key).then(
      () => {
        forget();
        accept(key);
      },
      (reason: ApiError) => {
        setBusy(false);
        setError(wordsFor(reason));
      },
    );
  };
  return (
    <main class="sign-in">
      <div class="card">
        <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
          <path d="M2 3h4v2h3V3h6v2h3V3h4v18h-6v-6a4 4 0 0 0-8 0v6H2z" />
        </svg>
        <h1>{props.title}</h1>
        <p class="muted">{props.lead}</p>
        {notice.value && (
          <p class="note-box" role="status">
            {notice.value}
          </p>
        )}
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const key = value.trim();
            if (key !== "") signIn(key, (reason) => props.explain(reason, key) ?? reason.message);
          }}
        >
          <label for="sign-in-key">{props.label}</label>
          <input
            id="sign-in-key"
            type="password"
            autofocus
            autocomplete="off"
            spellcheck={false}
            aria-describedby="sign-in-note"
            aria-invalid={error !== null}
            value={value}
            onInput={(event) => setValue(event.currentTarget.value)}
          />
          {error && (
            <p class="form-error wrap" role="alert">
              {error}
            </p>
          )}
          <button type="submit" class="primary" disabled={busy}>
            {busy ? "Signing in…" : "Sign in"}
          </button>
        </form>
        <p class="hint" id="sign-in-note">
          The key stays in this tab: it is sent only to {location.host}, and forgotten when you
          close the tab or after 30 minutes without input.
        </p>
        {props.access && (
          <button
            type="button"
            class="link"
            disabled={busy}
            onClick={() => signIn(CLOUDFLARE_ACCESS, explainAccess)}
          >
            Continue with Cloudflare Access
          </button>
        )}
        {props.more}
      </div>
    </main>
  );
}
