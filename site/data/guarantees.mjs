// @ts-check
//! The guarantees of the gateway, their limits, and the tests that keep them, by file and name. If one of these tests is removed,
//! tests/docs/guarantees.test.mjs fails.

/** @type {{ what: string, how: string, tests: [string, string][] }[]} */
export const GUARANTEES = [
  {
    what: "Revoked, disabled and changed keys",
    how: "The change is effective everywhere within 10 seconds, for every attempt that is sent to a provider after that, however long ago its call began. A response that has started is not cut.",
    tests: [
      [
        "tests/e2e/issued-keys.test.mjs",
        "issued keys: revoking, disabling and rotating take effect on busy isolates within the bound",
      ],
      [
        "tests/e2e/issued-keys.test.mjs",
        "issued keys: after the bound an idle isolate rejects a revoked key at its first call",
      ],
      [
        "tests/e2e/issued-keys.test.mjs",
        "issued keys: revoking a key does not cut a response that has started",
      ],
      [
        "tests/e2e/permission.test.mjs",
        "permission: a call whose body comes after the bound is not sent with a key that was revoked, disabled or narrowed",
      ],
      [
        "tests/e2e/permission.test.mjs",
        "permission: no failover with a key that is ${what} during the first attempt",
      ],
      [
        "tests/e2e/permission.test.mjs",
        "permission: a key that expires between the head and the body of a call is rejected",
      ],
      ["core/src/key/cache.rs", "no_result_older_than_the_bound_is_used"],
    ],
  },
  {
    what: "Secrecy of keys",
    how: "Every key is shown once. The gateway stores its SHA-256; nobody can read the key again.",
    tests: [
      [
        "tests/e2e/api-keys.test.mjs",
        "key API: a key's text is in no later response, no log and no database file",
      ],
      ["tests/e2e/claims.test.mjs", "claim link: neither token nor key is stored or logged"],
    ],
  },
  {
    what: "Stored keys of providers",
    how: "A key of a provider is in the database only as a ciphertext that opens for its own provider and id, with a master key that is a secret of the Worker. No response, log line, error or audit entry has it.",
    tests: [
      [
        "tests/e2e/provider-keys.test.mjs",
        "provider keys: a ciphertext that is moved to another provider does not open",
      ],
      [
        "tests/e2e/provider-keys.test.mjs",
        "provider keys: every change is in the audit trail, and no key is anywhere",
      ],
      [
        "tests/e2e/privacy.test.mjs",
        "privacy: after a run neither logs nor stored state contain content or secrets",
      ],
    ],
  },
  {
    what: "Approvals",
    how: "A request gets one key: of any number of approvals exactly one succeeds; the others get 409.",
    tests: [
      [
        "tests/e2e/portal.test.mjs",
        "portal API: fifty concurrent approvals of one request issue one key",
      ],
    ],
  },
  {
    what: "Claim links",
    how: "A link works once: of any number of attempts exactly one gets the key. Opening the page changes nothing. A link expires after 72 hours (`access.claim_hours`), or when the key is rotated. Its token is in no URL that is sent, and so in no log.",
    tests: [
      ["tests/e2e/claims.test.mjs", "claim link: twenty concurrent claims return one key"],
      [
        "tests/e2e/claims.test.mjs",
        "claim link: its page can be opened any number of times and changes nothing",
      ],
      ["tests/e2e/claims.test.mjs", "claim link: neither token nor key is stored or logged"],
      ["tests/e2e/claims.test.mjs", "rotation by claim link: a rotation ends older links"],
    ],
  },
  {
    what: "Rotation",
    how: "The previous secret keeps working for an hour, or for the overlap that the operator sets, 0 seconds to 30 days.",
    tests: [
      [
        "tests/e2e/api-keys.test.mjs",
        "key rotation: both secrets work during the overlap, then only the new one",
      ],
      [
        "tests/e2e/api-keys.test.mjs",
        "key rotation: the overlap is one hour by default and 30 days at most",
      ],
    ],
  },
  {
    what: "Limits of a key",
    how: "The strictest limit of the key’s policies applies, over all isolates. They are never exceeded, as long as providers charge at most what was held, whatever callers do. See [accuracy of limits](/docs/limits#accuracy-of-limits).",
    tests: [
      [
        "tests/e2e/budgets.test.mjs",
        "budget: a thousand concurrent calls of ${path} over ${number} isolate(s), whole and streamed, do not overrun it",
      ],
      [
        "tests/e2e/limits.test.mjs",
        "limits: requests per minute hold for forty concurrent calls over two isolates",
      ],
      ["tests/e2e/limits.test.mjs", "limits: of two policies the stricter applies"],
      [
        "tests/e2e/abandoned.test.mjs",
        "abandoned calls: the provider's bill for ${CALLS} adversarial calls stays within a limit of ${kind} (${count} isolates)",
      ],
      [
        "tests/e2e/abandoned.test.mjs",
        "callers who leave: one absurd report is charged up to a bound, and the key goes on",
      ],
      [
        "tests/e2e/abandoned.test.mjs",
        "callers who leave: a field that the gateway cannot price is rejected for a key with a budget",
      ],
      [
        "tests/e2e/evicted.test.mjs",
        "evictions: after a death with all places held, they are free within ${FREE_MS / 1000} s, whatever the rhythm of calls",
      ],
      ["core/tests/ledger.rs", "the_places_of_a_dead_isolate_are_free_in_time"],
      ["core/tests/ledger.rs", "without_deaths_the_charged_amount_is_the_amount_spent"],
      ["core/tests/ledger.rs", "deaths_do_not_overrun_the_limit"],
    ],
  },
  {
    what: "Policies at providers with their own routing",
    how: "A key whose policies limit models, endpoints or money reaches and pays only what they allow, by any name, suffix or known field of the request; otherwise 403 that names the field. Fields that a provider adds later are not known until the table of providers has them.",
    tests: [
      [
        "tests/e2e/boundary.test.mjs",
        "boundary: a field that chooses models, services or prices does not cross a policy",
      ],
      ["core/src/route/boundary.rs", "a_field_that_chooses_more_than_the_policy_allows_is_named"],
      ["core/src/key/issued.rs", "limits_bind_the_models_behind_a_name_and_variants_of_their_ids"],
    ],
  },
  {
    what: "Records of calls",
    how: "A call is recorded on the key’s account usually within 250 ms after its end. After that it is neither lost nor counted twice. See [durability of records](/docs/usage#durability-of-records).",
    tests: [
      [
        "tests/e2e/recording.test.mjs",
        "recording: a runtime killed under load loses no acknowledged record",
      ],
      [
        "tests/e2e/recording.test.mjs",
        "recording: lost reports, lost responses and lost lease requests are counted once",
      ],
    ],
  },
  {
    what: "Receipts",
    how: "A changed, removed or inserted receipt breaks the chain, which the holder of the receipts can verify.",
    tests: [
      [
        "tests/e2e/usage.test.mjs",
        "receipts: the published programs verify a chain and detect changes",
      ],
    ],
  },
  {
    what: "Sums of all keys",
    how: "Each account reports its sums about 10 seconds after a call, and each report counts once, whatever fails in between.",
    tests: [
      [
        "tests/e2e/recording.test.mjs",
        "recording: during a database failure calls are served, and their sums arrive once it is back",
      ],
      ["tests/e2e/usage-sql.test.mjs", "usage SQL: a roll-up delivered twice counts once"],
    ],
  },
  {
    what: "Key requests",
    how: "At most 5 in any 24 hours from one address (`access.requests_per_day`); then 429.",
    tests: [
      [
        "tests/e2e/access.test.mjs",
        "daily limit of key requests: the sixth request from an address returns 429, another address is unaffected",
      ],
      [
        "tests/e2e/access.test.mjs",
        "daily limit of key requests: of twenty concurrent submissions five are accepted and stored",
      ],
    ],
  },
  {
    what: "Wrong keys",
    how: "At most 100 different ones in any minute from one address (`access.failed_auth_per_minute`); then 429. Valid generated keys are not rejected, and the queries for unknown keys stay bounded.",
    tests: [
      [
        "tests/e2e/issued-keys.test.mjs",
        "failed authentication: a client over the limit gets 429, other clients are unaffected",
      ],
      [
        "tests/e2e/issued-keys.test.mjs",
        "failed authentication: twenty concurrent guesses do not exceed the limit",
      ],
      [
        "tests/e2e/issued-keys.test.mjs",
        "failed authentication: a program that keeps using a revoked key counts once and shuts nobody out",
      ],
      [
        "tests/e2e/issued-keys.test.mjs",
        "unknown keys: three hundred of them at ${path} cause a bounded number of queries, and valid keys work",
      ],
    ],
  },
  {
    what: "Size of requests",
    how: "At most 20 MiB for calls (`requests.max_body_bytes`), 26 MiB for forms with files (`requests.max_upload_bytes`), 64 KiB for routes about keys; then 413.",
    tests: [
      ["tests/e2e/hostile.test.mjs", "hostile bodies: 21 MB return 413, 19 MB are forwarded"],
      [
        "tests/e2e/surface.test.mjs",
        "request bodies: a body over the limit returns 413, declared or chunked",
      ],
      ["tests/e2e/endpoints.test.mjs", "forms: a form larger than the limit is rejected"],
      ["tests/e2e/access.test.mjs", "key requests: a body of more than 64 KiB returns 413"],
    ],
  },
  {
    what: "Memory",
    how: "All calls of an isolate hold at most 40 MiB together (`requests.max_held_bytes`); then 503 with `retry-after`. A body arrives within two minutes (`timeouts.body_ms`); then 408. [What counts](/docs/limits#memory).",
    tests: [
      [
        "tests/e2e/memory.test.mjs",
        'memory: ten ${declared ? "declared" : "chunked"} bodies of 15 MB at once stay within the budget, and those without room get 503',
      ],
      [
        "tests/e2e/memory.test.mjs",
        "memory: of 32 uploads of 25 MB at once those without room get 503, and no file enters Wasm",
      ],
      [
        "tests/e2e/memory.test.mjs",
        "memory: eight streams with a line of 20 MB stay within the budget and end with an error event",
      ],
      [
        "tests/e2e/memory.test.mjs",
        "memory: whole responses beyond the budget return 503 and do not count against the provider",
      ],
      [
        "tests/e2e/memory.test.mjs",
        "memory: a ${what} body that does not arrive in time returns 408",
      ],
      [
        "tests/e2e/memory.test.mjs",
        "memory: with the policy '${policy}' used up a large body is rejected before it arrives",
      ],
    ],
  },
  {
    what: "Unchanged bytes",
    how: "A request reaches the provider byte for byte, except for [documented changes](/docs/requests#changes-to-requests), and a whole response comes back byte for byte.",
    tests: [
      [
        "tests/e2e/bytes.test.mjs",
        "response bytes: a whole response equals the upstream's, byte for byte",
      ],
      [
        "tests/e2e/bytes.test.mjs",
        "request bytes: the provider's key is sent, the caller's headers are not",
      ],
      [
        "tests/e2e/routing.test.mjs",
        "routing preferences: they are removed from the upstream request, the rest is forwarded byte for byte",
      ],
    ],
  },
  {
    what: "End of a stream",
    how: "Every stream ends with `[DONE]` or with a typed error event.",
    tests: [
      [
        "tests/e2e/faults.test.mjs",
        "broken streams: one that is ${name} (${chunking}) ends with a typed error event and no [DONE]",
      ],
      ["tests/e2e/faults.test.mjs", "broken streams: all of 3,000 events arrive"],
    ],
  },
  {
    what: "Disconnected clients",
    how: "Its upstream call is cancelled, at once or, if a limit of tokens or money counts it, once the usage has come or after 25 seconds. Memory stays flat.",
    tests: [
      [
        "tests/e2e/abandoned.test.mjs",
        "callers who leave: without the usage after 25 s the upstream is cancelled, the hold is charged, and the place is free",
      ],
      [
        "tests/e2e/abort.test.mjs",
        "clients that leave: ${ROUNDS * ABORTS_A_ROUND} disconnects ${name} cancel the upstream calls and leave memory flat",
      ],
      [
        "tests/e2e/attempts.test.mjs",
        "clients that leave: a disconnect while two upstreams are called cancels both",
      ],
    ],
  },
  {
    what: "Content and secrets",
    how: "No prompt, response or key is stored or logged.",
    tests: [
      [
        "tests/e2e/privacy.test.mjs",
        "privacy: after a run neither logs nor stored state contain content or secrets",
      ],
      ["tests/e2e/usage.test.mjs", "receipts: contain no content"],
    ],
  },
  {
    what: "Audit trail",
    how: "Each change by an operator, and each key that is claimed or issued at once, has one entry, in the same transaction. An entry has the values before and after the change. A changed, removed or inserted entry [breaks the chain](/docs/operate/audit); a change of keys in the tables alone is reported by the verification.",
    tests: [
      ["tests/e2e/api-keys.test.mjs", "audit log: a change of the tables alone is found"],
      [
        "tests/e2e/api-keys.test.mjs",
        "audit log: an entry has the values before and after a change, and digests of secrets",
      ],
      ["tests/e2e/api-keys.test.mjs", "audit log: denied operators are counted and logged"],
      [
        "tests/e2e/api-keys.test.mjs",
        "audit log: pages list every entry once, oldest first, and the hash chain verifies",
      ],
      [
        "tests/e2e/api-keys.test.mjs",
        "audit log: without the triggers a changed or removed entry breaks the chain",
      ],
      [
        "tests/e2e/portal.test.mjs",
        "portal API: an approval that fails at ${table} changes nothing and can be repeated",
      ],
    ],
  },
  {
    what: "Webhooks",
    how: "Each is delivered at least once, if one of 10 attempts over about a day succeeds.",
    tests: [
      [
        "tests/e2e/notifications.test.mjs",
        "webhook: a delivery is sent even if the Worker dies before it has woken the notifier",
      ],
      [
        "tests/e2e/notifications.test.mjs",
        "webhook: after ten failures a delivery is given up and kept in the database",
      ],
    ],
  },
  {
    what: "Failover",
    how: "If a provider fails before the first content, the gateway calls the next one, if your call allows more than one; nothing of the failed attempt reaches you. A call has at most 4 attempts (`routing.max_attempts`).",
    tests: [
      [
        "tests/e2e/failover.test.mjs",
        'failover: when the first upstream fails (${name}, ${stream ? "stream" : "whole"}) the second answers',
      ],
      [
        "tests/e2e/attempts.test.mjs",
        "retries: of six failing lanes only routing.max_attempts are called",
      ],
      [
        "simulation/tests/invariants.rs",
        "the_invariants_hold_for_every_call_in_ten_thousand_worlds",
      ],
    ],
  },
  {
    what: "Throttled providers",
    how: "If a provider throttles or reports a used-up limit, every isolate skips the lane within 2 seconds, for the time that the provider states. Only a call whose plan has a single lane still uses it.",
    tests: [
      [
        "tests/e2e/health.test.mjs",
        "shared health: a cooldown found by one busy isolate is known to all within the bound",
      ],
      [
        "tests/e2e/health.test.mjs",
        "shared health: an idle isolate knows of a cooldown at its first call after the bound",
      ],
    ],
  },
  {
    what: "Time of a call",
    how: "At most 10 minutes until the response, or the first content of a stream, with all attempts (`timeouts.total_ms`); then 504.",
    tests: [
      [
        "tests/e2e/attempts.test.mjs",
        'total timeout: ends calls to upstreams ${name} (${stream ? "stream" : "whole"})',
      ],
    ],
  },
  {
    what: "Health of the providers",
    how: "It covers all isolates, is at most 2 seconds old, and is approximate: its last seconds can be lost. No call depends on it.",
    tests: [
      [
        "tests/e2e/health.test.mjs",
        "health: a gateway without the ProviderHealth object uses its own view and loses no time",
      ],
      ["tests/e2e/health.test.mjs", "health: a restarted gateway remembers cooldowns"],
    ],
  },
  {
    what: "Database failures",
    how: "Keys of the Worker secrets keep working. Issued keys get 503 `storage_unavailable` when their cached data are older than 10 seconds. Sums wait in the accounts.",
    tests: [
      [
        "tests/e2e/issued-keys.test.mjs",
        "issued keys: without the database a known key works for ten seconds, then returns 503",
      ],
      [
        "tests/e2e/recording.test.mjs",
        "recording: during a database failure calls are served, and their sums arrive once it is back",
      ],
    ],
  },
  {
    what: "Account failures",
    how: "If a key’s account does not respond, a key with limits gets 503 `storage_unavailable` as soon as its lease is used up. Keys without limits keep working, and their records wait in the isolate.",
    tests: [
      [
        "tests/e2e/limits.test.mjs",
        "limits: when the KeyLedger object ${what}, keys with limits get 503 and all others are served",
      ],
    ],
  },
];
