//! Allocation counts of the core: of each step of one call, from the request's bytes to the report, and of a stream of
//! 300 events. A count that is more than 5 % above `tests/counts.json` fails the test; a count that is as much below is
//! printed, so that the file can be updated. `tests/e2e/counts.test.mjs` does the same for crossings between JavaScript
//! and Wasm.
//!
//! ```text
//! UPDATE_COUNTS=1 cargo test -p gatehouse-core --test allocations
//! ```
//!
//! accepts the current counts. They are those of native code; in Wasm the same collections grow at the same times,
//! except for those that start with a few bytes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write as _;
use std::{env, fs, hint, io};

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::Config;
use gatehouse_core::format;
use gatehouse_core::format::request::Responder;
use gatehouse_core::format::stream::{Outcome as StreamOutcome, Relayed, StreamState};
use gatehouse_core::health::HealthView;
use gatehouse_core::key::{IssuedKey, Secret};
use gatehouse_core::ledger::estimate::Estimate;
use gatehouse_core::ledger::receipt::{Outcome, Receipt};
use gatehouse_core::ledger::{
    Account, End, Limit, LocalLease, Reservation, Reserved, Settled, Target, headers,
};
use gatehouse_core::operation::{CHAT_COMPLETIONS, Format};
use gatehouse_core::route::affinity::Affinity;
use gatehouse_core::route::candidates::{self, Candidate, RouteQuery};
use gatehouse_core::route::plan::{Limits, Plan, Step};
use serde_json::json;
use serde_json::{Map, Value};

thread_local! {
    /// The count of this thread: the test harness has other threads.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a counter. Growing and zeroed allocations go through `alloc` too.
struct Counting;

#[expect(unsafe_code, reason = "only an allocator can count allocations, and its trait is unsafe")]
// SAFETY: all calls are forwarded to the system's allocator, and counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract; the pointer comes from this allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result of a step, and the number of its allocations.
fn counted<T>(step: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let result = hint::black_box(step());
    (result, ALLOCATIONS.get() - before)
}

/// The counts of the steps of one call, in order.
#[derive(Default)]
struct Steps(Map<String, Value>);

impl Steps {
    fn run<T>(&mut self, name: &str, step: impl FnOnce() -> T) -> T {
        let (result, count) = counted(step);
        self.0.insert(name.to_owned(), count.into());
        result
    }
}

const CONFIG: &str = r#"{
    "providers": {"demo": {"base_url": "https://demo.test/v1", "models": ["sim-small"]}},
    "models": {"demo/sim-small": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}},
    "policies": {"limited": {"limits": {
        "requests_per_minute": 1000000, "tokens_per_day": 1000000000, "usd_per_day": 1000000
    }}}
}"#;
const REQUEST: &str =
    r#"{"model":"demo/sim-small","messages":[{"role":"user","content":"Hi"}],"max_tokens":64}"#;
const RESPONSE: &str = r#"{"id":"a","object":"chat.completion","model":"sim-small","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#;
const EVENTS: usize = 300;
const NOW_MS: u64 = 1_700_000_000_000;

/// The state of an isolate, and the account of its key.
struct World {
    config: Config,
    registry: Registry,
    view: HealthView,
    key: IssuedKey,
    lease: LocalLease,
    account: Account,
    now_ms: u64,
}

impl World {
    fn new() -> World {
        let config = Config::read("{}", Some(CONFIG)).unwrap();
        let key = json!({
            "id": "key_1", "name": "limited", "disabled": 0, "key_expires_ms": null, "secret_expires_ms": null,
            "policies": "[\"limited\"]", "models": null, "endpoints": null, "limits": "{}",
        });
        World {
            registry: Registry::new(&config, false, |name| {
                (name == "DEMO_API_KEY").then(|| "sk-provider-secret".to_owned())
            }),
            config,
            view: HealthView::default(),
            key: IssuedKey::from_row(&key).unwrap(),
            lease: LocalLease::new("isolate".to_owned()),
            account: Account::default(),
            now_ms: NOW_MS,
        }
    }

    /// One call of a key with limits, in the steps of `src/inference`.
    fn call(&mut self) -> Map<String, Value> {
        self.now_ms += 10;
        let World { config, registry, view, key, lease, account, now_ms } = self;
        let now_ms = *now_ms;
        let mut steps = Steps::default();
        let request =
            steps.run("format::read", || format::read(&CHAT_COMPLETIONS, REQUEST.as_bytes()).unwrap());
        let query = RouteQuery {
            request: &request,
            force_model: None,
            force_provider: None,
            key: Some(key),
            config,
            registry,
            view,
            affinity: Affinity::of("limited", None, request.prompt, 1),
            now_ms,
            explain: false,
        };
        let selection = steps.run("candidates::select", || candidates::select(&query).unwrap());
        let Some(candidate) = selection.candidates.first() else { panic!("there is no candidate") };
        let step = steps.run("Plan", || {
            let limits = Limits::of(config, now_ms);
            Plan::new(&selection.candidates, view, query.affinity, limits, now_ms).next(now_ms)
        });
        let Step::Send(lane) = step else { panic!("no lane is tried: {step:?}") };
        let limits = steps.run("Limit::of_key", || Limit::of_key(key, config).unwrap());
        let listed = limits.clone();
        let mut reservation = steps.run("Reservation::new", || {
            Reservation::new(limits, Estimate::of(&request.size), config.ledger.unknown_price, &request.model)
        });
        let target = target(candidate);
        let needs = steps.run("Reservation::needs", || reservation.needs(target).unwrap());
        let reserved = steps.run("LocalLease::reserve", || lease.reserve(&needs, now_ms));
        let charges = match reserved {
            Reserved::Held(charges, None) => charges,
            // A request to the account is not a step of most calls.
            Reserved::Held(charges, Some(request)) => {
                let (response, _) = account.request_lease(&request, now_ms);
                lease.apply(&request, response, now_ms).unwrap();
                charges
            }
            Reserved::Request(request) => {
                let (response, _) = account.request_lease(&request, now_ms);
                lease.apply(&request, response, now_ms).unwrap()
            }
            Reserved::Refused(refusal) => panic!("{refusal:?}"),
        };
        let output_limit = steps.run("Reservation::started", || reservation.started(target, charges));
        let outgoing = steps
            .run("Inference::outgoing", || request.outgoing(&candidate.upstream(), output_limit).unwrap());
        assert!(outgoing.body.is_some());
        let id = candidate.lane(lane.key);
        let secret = candidate.provider.secret(0);
        let usage = steps.run("Responder::whole", || {
            outgoing.responder.whole("demo", RESPONSE.as_bytes(), secret).unwrap().usage
        });
        steps.run("HealthView", || {
            view.begin(id, now_ms);
            view.answered(id, now_ms, now_ms);
        });
        let (attempts, charges) = steps.run("Reservation::ended, settle", || {
            reservation.ended(target, "ok", 1, End::Reported(usage));
            reservation.settle()
        });
        let receipt = Receipt {
            id: Receipt::new_id(now_ms, [7; 10]),
            request_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            at_ms: now_ms,
            operation: CHAT_COMPLETIONS.name(),
            project: None,
            stream: false,
            status: 200,
            code: None,
            outcome: Outcome::Answered,
            first_token_ms: None,
            duration_ms: 1,
            partial: false,
            attempts,
        };
        let text = steps.run("Receipt::to_text", || receipt.to_text());
        let rows = steps.run("Receipt::rows", || receipt.rows(registry));
        steps.run("LocalLease::settle", || lease.settle(Settled { receipt: Some(text), rows, charges }));
        steps.run("ledger::headers", || {
            headers::headers(&listed, |counter| lease.left(counter, now_ms), now_ms)
        });
        let report = steps.run("LocalLease::report", || lease.report(now_ms)).unwrap();
        let (response, _) = account.report(report, now_ms);
        lease.reported(response);
        steps.0
    }
}

fn target<'a>(candidate: &'a Candidate<'_>) -> Target<'a> {
    Target { provider: &candidate.provider.name, model: &candidate.model, key: 0, facts: &candidate.facts }
}

/// A stream that arrives event by event. Parsing an event allocates (`sse::parse`), so at least as many events make
/// `push` allocate as are parsed.
fn stream(usage_null: bool, hide_usage: bool) -> Value {
    let event =
        |rest: &str| format!(r#"data: {{"id":"a","object":"chat.completion.chunk",{rest}}}"#) + "\n\n";
    let usage = if usage_null { r#","usage":null"# } else { "" };
    let chunk = |delta: &str, end: &str| {
        event(&format!(r#""choices":[{{"index":0,"delta":{delta},"finish_reason":{end}}}]{usage}"#))
    };
    let mut events = vec![chunk(r#"{"role":"assistant","content":""}"#, "null")];
    events.resize(EVENTS + 1, chunk(r#"{"content":" word"}"#, "null"));
    events.push(chunk("{}", r#""stop""#));
    events.push(event(r#""choices":[],"usage":{"prompt_tokens":9,"completion_tokens":300}"#));
    events.push("data: [DONE]\n\n".to_owned());

    let responder = Responder {
        format: Format::ChatCompletions,
        hide_usage,
        ends_without_done: false,
        translation: None,
    };
    pushed(&responder, &events, if hide_usage { EVENTS + 3 } else { 0 })
}

/// The same for a message: nothing of it is changed.
fn messages_stream() -> Value {
    let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    let start = r#","message":{"id":"a","content":[],"usage":{"input_tokens":9,"output_tokens":1}}"#;
    let text = r#","index":0,"delta":{"type":"text_delta","text":" word"}"#;
    let mut events = vec![
        event("message_start", start),
        event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#),
    ];
    events.resize(EVENTS + 2, event("content_block_delta", text));
    events.push(event("content_block_stop", r#","index":0"#));
    events
        .push(event("message_delta", r#","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":300}"#));
    events.push(event("message_stop", ""));
    let responder = Responder {
        format: Format::Messages,
        hide_usage: false,
        ends_without_done: false,
        translation: None,
    };
    pushed(&responder, &events, 0)
}

/// Counts the allocations of a stream, of which so many events are changed.
fn pushed(responder: &Responder, events: &[String], changed: usize) -> Value {
    let mut stream = responder.stream("demo", Secret::new("sk-provider-secret"), 1_000_000).unwrap();
    let mut relayed = Vec::with_capacity(events.len());
    let mut allocations = 0;
    let mut allocating = 0;
    for event in events {
        let (result, count) = counted(|| stream.push(event.as_bytes()));
        relayed.push(result);
        allocations += count;
        allocating += u64::from(count > 0);
    }
    assert_eq!(stream.state(), StreamState::Over(StreamOutcome::Done));
    assert!(stream.usage().is_known());
    assert_eq!(relayed.iter().filter(|result| **result != Relayed::AsIs).count(), changed);
    json!({ "allocations": allocations, "events_that_allocate": allocating })
}

#[test]
fn a_call_and_a_stream_allocate_no_more_than_before() {
    let mut world = World::new();
    // The first calls create state that later calls reuse: lanes, a lease.
    for _ in 0..20 {
        world.call();
    }
    let found = json!({
        "allocations of one call": Value::Object(world.call()),
        "stream of 300 events, usage hidden": stream(true, true),
        "stream of 300 events, usage asked for": stream(true, false),
        "stream of 300 events, usage only at the end": stream(false, false),
        "stream of 300 events of a message": messages_stream(),
    });

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/counts.json");
    let mut kept: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    if env::var("UPDATE_COUNTS").is_ok_and(|value| value == "1") {
        kept.as_object_mut().unwrap().insert("core".to_owned(), found);
        fs::write(path, serde_json::to_string_pretty(&kept).unwrap() + "\n").unwrap();
        return;
    }
    let mut faults = Vec::new();
    for (group, counts) in found.as_object().unwrap() {
        for (name, count) in counts.as_object().unwrap() {
            let expected = kept.pointer("/core").and_then(|core| core.get(group)?.get(name)?.as_u64());
            let (expected, count) = (expected.unwrap_or(0), count.as_u64().unwrap());
            let difference =
                format!("{group}, {name}: {expected} expected (tests/counts.json), {count} found");
            if 100 * count > 105 * expected {
                faults.push(difference);
            } else if 105 * count < 100 * expected {
                // Written to stderr directly, because the harness hides the output of passing tests.
                let mut out = io::stderr();
                writeln!(out, "{difference}. To keep this: {COMMAND}").unwrap();
            }
        }
    }
    assert!(
        faults.is_empty(),
        "more than 5 % above:\n  {}\nIf this is intended: {COMMAND}",
        faults.join("\n  ")
    );
}

const COMMAND: &str = "UPDATE_COUNTS=1 cargo test -p gatehouse-core --test allocations";
