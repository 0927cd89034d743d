// @ts-check
//! What the gateway guarantees, where that ends, and the tests that keep it: their file and their name as it stands there.
//! tests/docs/guarantees.test.mjs fails when one of them is gone.

/** @type {{ what: string, how: string, tests: [string, string][] }[]} */
export const GUARANTEES = [
  {
    what: "A key that is revoked, disabled or changed",
    how: "In force everywhere within 10 seconds, for every call that begins after that. An answer that is on its way is not cut.",
    tests: [
      [
        "tests/e2e/issued-keys.test.mjs",
        "that are polled: revoking, disabling and rotating are in force within the bound",
      ],
      [
        "tests/e2e/issued-keys.test.mjs",
        "that are idle: after the bound none lets the key in, even as the first call",
      ],
      [
        "tests/e2e/issued-keys.test.mjs",
        "does not cut an answer that is on its way when its key is revoked",
      ],
      ["core/src/key/cache.rs", "nothing_older_than_the_bound_is_ever_used"],
    ],
  },
  {
    what: "A key is shown once",
    how: "Whichever way it is made. The gateway keeps its SHA-256; nobody can read the key again.",
    tests: [
      [
        "tests/e2e/api-keys.test.mjs",
        "S3-07, S3-26: a key's text is in no answer, no log and no file of the database",
      ],
      [
        "tests/e2e/claims.test.mjs",
        "neither token nor key is kept anywhere, nor logged by the Worker",
      ],
    ],
  },
  {
    what: "An approval makes one key",
    how: "Of any number of approvals of one request exactly one succeeds; the others get 409.",
    tests: [["tests/e2e/portal.test.mjs", "fifty approvals of one request make one key"]],
  },
  {
    what: "A claim link works once",
    how: "Of any number of attempts exactly one gets the key. Reading the page changes nothing. 72 hours (`access.claim_hours`).",
    tests: [
      ["tests/e2e/claims.test.mjs", "used by twenty at once shows one key"],
      ["tests/e2e/claims.test.mjs", "can be opened any number of times, and changes nothing"],
    ],
  },
  {
    what: "A rotation breaks nothing",
    how: "The previous secret goes on working for an hour, or for 0 seconds to 30 days as the operator says.",
    tests: [
      [
        "tests/e2e/api-keys.test.mjs",
        "both secrets work while they overlap, then the new one alone",
      ],
      ["tests/e2e/api-keys.test.mjs", "an hour unless something else is said; a month at most"],
    ],
  },
  {
    what: "A key’s limits",
    how: "The strictest of its policies’, over all isolates: of requests, calls at once and money never overrun, of tokens only by calls that are under way. [What is exact](/docs/limits#what-is-exact-and-what-is-not).",
    tests: [
      [
        "tests/e2e/budgets.test.mjs",
        "a thousand at once over ${ISOLATES} isolate(s), whole and streamed",
      ],
      ["tests/e2e/limits.test.mjs", "requests a minute: forty at once over two isolates"],
      ["tests/e2e/limits.test.mjs", "of two policies the stricter counts"],
      ["core/tests/ledger.rs", "nothing_is_lost_overrun_or_kept"],
      ["core/tests/ledger.rs", "deaths_overrun_nothing"],
    ],
  },
  {
    what: "The record of a call",
    how: "At the key’s ledger usually within 250 ms after its end. From then on neither lost nor counted twice. [What is certain](/docs/usage#what-is-certain).",
    tests: [
      [
        "tests/e2e/recording.test.mjs",
        "a runtime that is killed under load loses nothing that had been acknowledged",
      ],
      [
        "tests/e2e/recording.test.mjs",
        "reports whose answers are lost, and answers to asks, count once",
      ],
    ],
  },
  {
    what: "Receipts can be checked",
    how: "A receipt that is changed, removed or put in between breaks the chain, for whoever holds the receipts.",
    tests: [["tests/e2e/usage.test.mjs", "can be checked by whoever holds the receipts"]],
  },
  {
    what: "The sums of all keys",
    how: "Each ledger hands in its own about 10 seconds after a call, and each counts once, whatever fails in between.",
    tests: [
      [
        "tests/e2e/recording.test.mjs",
        "whose database is down: calls go on, and their sums arrive once it is back",
      ],
      ["tests/e2e/usage-sql.test.mjs", "twice is once"],
    ],
  },
  {
    what: "Requests for keys",
    how: "5 in any 24 hours from one address (`access.requests_per_day`); then 429.",
    tests: [
      [
        "tests/e2e/access.test.mjs",
        "S0-13, S0-14: the sixth of an address is refused, another address is not",
      ],
      ["tests/e2e/access.test.mjs", "of twenty at once, five are received and stored"],
    ],
  },
  {
    what: "Wrong keys",
    how: "100 in any minute from one address (`access.failed_auth_per_minute`); then 429.",
    tests: [
      ["tests/e2e/issued-keys.test.mjs", "refuses a client that fails too often, and nobody else"],
      ["tests/e2e/issued-keys.test.mjs", "lets no more than the limit guess, even at once"],
    ],
  },
  {
    what: "Bodies",
    how: "20 MiB for calls (`requests.max_body_bytes`), 64 KiB for everything about keys; then 413.",
    tests: [
      ["tests/e2e/hostile.test.mjs", "21 megabytes are refused, 19 pass"],
      [
        "tests/e2e/surface.test.mjs",
        "a body over the limit is 413, whether or not its length is declared",
      ],
      ["tests/e2e/access.test.mjs", "a body of more than 64 KiB is refused"],
    ],
  },
  {
    what: "Bytes pass",
    how: "What the gateway does not act on arrives at the provider byte for byte, and a whole answer comes back so. [What is changed](/docs/requests#what-is-changed).",
    tests: [
      ["tests/e2e/bytes.test.mjs", "a whole answer is the upstream's, byte for byte"],
      [
        "tests/e2e/bytes.test.mjs",
        "nothing of the caller's headers goes along, the provider's key does",
      ],
      [
        "tests/e2e/routing.test.mjs",
        "nothing of it reaches an upstream, and the rest arrives byte for byte",
      ],
    ],
  },
  {
    what: "A stream never ends silently",
    how: "It ends with `[DONE]` or with a typed error event.",
    tests: [
      [
        "tests/e2e/faults.test.mjs",
        "${name} (${chunking}): ends with a typed error event and no [DONE]",
      ],
      ["tests/e2e/faults.test.mjs", "3,000 events arrive, none lost"],
    ],
  },
  {
    what: "A client that leaves",
    how: "Its upstream call is cancelled, and memory stays flat.",
    tests: [
      ["tests/e2e/abort.test.mjs", "${ROUNDS * ABORTS_A_ROUND} clients leave ${name}"],
      ["tests/e2e/attempts.test.mjs", "while two are asked: both are cancelled"],
    ],
  },
  {
    what: "Content and secrets",
    how: "No prompt, answer or key is stored or logged.",
    tests: [
      ["tests/e2e/privacy.test.mjs", "after a run, neither logs nor state hold content or secrets"],
      ["tests/e2e/usage.test.mjs", "keeps no content"],
    ],
  },
  {
    what: "The audit trail",
    how: "One entry for each act of an operator, and for each key that is claimed or issued at once, in the same transaction. An entry that is changed, removed or put in between [shows](/docs/operate/audit).",
    tests: [
      [
        "tests/e2e/api-keys.test.mjs",
        "pages: oldest first, and each once; anybody can check the chain",
      ],
      ["tests/e2e/api-keys.test.mjs", "without the triggers, a changed or removed entry shows"],
      [
        "tests/e2e/portal.test.mjs",
        "of an approval, at ${table}: nothing is half done, and then it works",
      ],
    ],
  },
  {
    what: "Webhooks",
    how: "Each at least once, as long as one of 10 tries over about a day succeeds.",
    tests: [
      [
        "tests/e2e/notifications.test.mjs",
        "is told even if the Worker dies before it can say that there is something to tell",
      ],
      [
        "tests/e2e/notifications.test.mjs",
        "that fails ten times is given up, and what was not told stays to be seen",
      ],
    ],
  },
  {
    what: "A provider that fails before the first content",
    how: "Is replaced by the next that can answer, if your call allows for more than one; you see nothing of it. At most 4 upstream calls (`routing.max_attempts`).",
    tests: [
      [
        "tests/e2e/failover.test.mjs",
        '${stream ? "stream" : "whole"}, ${name}: the second answers',
      ],
      ["tests/e2e/attempts.test.mjs", "of six that fail, only routing.max_attempts are asked"],
      ["simulation/tests/invariants.rs", "what_holds_for_every_call_holds_in_ten_thousand_worlds"],
    ],
  },
  {
    what: "A provider that throttles, or names a limit that is used up",
    how: "Everybody’s calls keep away from it within 2 seconds, for as long as it said. Only a call that has a single upstream, with a single key, is sent there all the same.",
    tests: [
      [
        "tests/e2e/health.test.mjs",
        "that are called all the time: what one finds out, all know within the bound",
      ],
      ["tests/e2e/health.test.mjs", "that are idle: the first call after the bound knows"],
    ],
  },
  {
    what: "The time of a call",
    how: "10 minutes until the answer, or the first content of a stream, all attempts together (`timeouts.total_ms`); then 504.",
    tests: [
      [
        "tests/e2e/attempts.test.mjs",
        'holds for upstreams ${name} (${stream ? "stream" : "whole"})',
      ],
    ],
  },
  {
    what: "How the providers are doing",
    how: "Counted over all isolates, at most 2 seconds old, and approximate: the last seconds of it can be lost. No call depends on it.",
    tests: [
      [
        "tests/e2e/health.test.mjs",
        "without the object goes by what it sees itself, and loses no time",
      ],
      ["tests/e2e/health.test.mjs", "that is restarted has not forgotten who is throttled"],
    ],
  },
  {
    what: "When the database is down",
    how: "Keys of the Worker secrets go on working. Issued keys get 503 `storage_unavailable` as soon as what is known of them is older than 10 seconds. Sums wait in the ledgers.",
    tests: [
      [
        "tests/e2e/issued-keys.test.mjs",
        "whose database is down knows a key for ten seconds, and then does not know",
      ],
      [
        "tests/e2e/recording.test.mjs",
        "whose database is down: calls go on, and their sums arrive once it is back",
      ],
    ],
  },
  {
    what: "When a key’s ledger does not answer",
    how: "A key with limits gets 503 `storage_unavailable` as soon as its lease is used up: a limit that cannot be kept lets nobody through. Keys without limits go on, and their records wait in the isolate.",
    tests: [
      ["tests/e2e/limits.test.mjs", "(${what}) lets no key with limits through, and all others"],
    ],
  },
];
