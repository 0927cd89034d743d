//! `POST /v0/selftest`: a report on the parts that calls need: keys, database, settings, Durable Objects, limits and, if the
//! operator agrees to the cost, a call to each provider.
//!
//! It takes at most about a minute. What only a client sees (the order of a stream, CORS, a cancelled call) is tested by
//! the command `gateway-operator selftest`.

use std::rc::Rc;

use gatehouse_core::catalog::Entry;
use gatehouse_core::error::Error;
use gatehouse_core::health::Report;
use gatehouse_core::json::Object;
use gatehouse_core::money::usd;
use gatehouse_core::onboarding::sliding_log::{Take, Verdict};
use serde::Serialize;

use super::health;
use crate::inference::trial::{self, TrialReport};
use crate::isolate::Isolate;
use crate::objects::{ObjectError, key_ledger, notifier, provider_health, rate_limiter};
use crate::platform::database::{self, DatabaseState};
use crate::platform::random;
use crate::platform::response::Response;
use crate::request_context::RequestContext;

/// The time that a provider has for its call, in milliseconds.
const TRIAL_MS: u32 = 8_000;
/// The number of providers that are called at once: the runtime opens six connections for a request.
const AT_ONCE: usize = 5;
/// The time after which no further provider is called, in milliseconds.
const LAST_MS: u64 = 40_000;

/// One check.
#[derive(Serialize)]
struct Check {
    name: String,
    ok: bool,
    /// The finding.
    detail: String,
    /// The change that makes it succeed; `None` for one that does.
    fix: Option<String>,
}

/// The report.
#[derive(Serialize)]
struct SelfTest {
    /// All checks have succeeded.
    ok: bool,
    /// The cost of the calls in US dollars, as a decimal; `None` if a price or a usage is not known.
    spent_usd: Option<String>,
    /// A model that answered, for further tests: `provider/model`.
    model: Option<String>,
    duration_ms: u64,
    checks: Vec<Check>,
}

fn good(name: impl Into<String>, detail: impl Into<String>) -> Check {
    Check { name: name.into(), ok: true, detail: detail.into(), fix: None }
}

fn bad(name: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { name: name.into(), ok: false, detail: detail.into(), fix: Some(fix.into()) }
}

/// Runs all checks.
pub async fn run(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let object = Object::read_optional(&context.small_body().await?)?;
    object.only(&["spend"])?;
    let spend = object.boolean("spend")?.unwrap_or(false);
    let mut checks = vec![keys(isolate), database(context).await];
    checks.extend(configuration(context, isolate).await);
    checks.extend(objects(context).await);
    let active: Vec<&Entry> =
        isolate.settings.registry.entries().iter().filter(|entry| entry.is_active()).collect();
    let mut called = Called { checks: Vec::new(), spent: Some(0), model: None };
    if spend {
        called = providers(context, isolate, &active).await;
    } else {
        let names: Vec<_> = active.iter().map(|entry| entry.name.as_str()).collect();
        let detail = format!("{} active, not called: {}", names.len(), names.join(", "));
        checks.extend((!names.is_empty()).then(|| good("providers", detail)));
    }
    checks.extend(called.checks);
    let report = SelfTest {
        ok: checks.iter().all(|check| check.ok),
        spent_usd: called.spent.map(usd),
        model: called.model,
        duration_ms: context.elapsed_ms(),
        checks,
    };
    Ok(Response::json(200, &report).with("cache-control", "no-cache"))
}

/// The operator key was accepted, or this would not run.
fn keys(isolate: &Isolate) -> Check {
    let of_ring = if isolate.settings.ring.is_empty() {
        "no static inference key is"
    } else {
        "static inference keys are"
    };
    good("keys", format!("the operator key is accepted; {of_ring} configured"))
}

/// Reads a table of each migration now, whatever `GET /health` remembers.
async fn database(context: &RequestContext<'_>) -> Check {
    const NAME: &str = "database";
    match database::probe(&context.env).await {
        DatabaseState::Ready => good(NAME, "responds, and all migrations have been applied"),
        DatabaseState::NotMigrated => {
            bad(NAME, "some tables are missing", "run npx wrangler d1 migrations apply GATEWAY_DB --remote")
        }
        DatabaseState::Unreachable => {
            bad(NAME, "does not respond", "see the log of the Worker and the state of D1 at Cloudflare")
        }
        DatabaseState::NotBound => {
            bad(NAME, "is not bound", "bind a D1 database as GATEWAY_DB in wrangler.toml")
        }
    }
}

/// The problems that `GET /health` reports, a check each.
async fn configuration(context: &RequestContext<'_>, isolate: &Isolate) -> Vec<Check> {
    const NAME: &str = "configuration";
    let state = health::state(context, isolate).await;
    let of_database = |problem: &str| problem.starts_with("the database") || problem.contains("GATEWAY_DB");
    let problems: Vec<Check> = state
        .problems
        .into_iter()
        .filter(|problem| !of_database(problem))
        .map(|problem| bad(NAME, problem, "change what the finding names, then run the self-test again"))
        .collect();
    if problems.is_empty() { vec![good(NAME, "GET /health reports no problem")] } else { problems }
}

/// A message to an instance of each Durable Object; for the limits, two hits of a limit of one.
async fn objects(context: &RequestContext<'_>) -> Vec<Check> {
    let env = &context.env;
    let ledger = key_ledger::receipts(env, "self-test", u64::MAX, 1).await.map(|_| ());
    let health = provider_health::report(env, &Report::default()).await.map(|_| ());
    let notifier = notifier::expect(env).await;
    let who = format!("self-test {}", hex::encode(random::id_bytes::<8>()));
    let hit = || rate_limiter::take(env, &who, Take { limit: 1, span_ms: 5_000, name: None });
    let hits = match hit().await {
        Ok(first) => hit().await.map(|second| (first, second)),
        Err(error) => Err(error),
    };
    let limits = match &hits {
        Ok((Verdict::Allowed, Verdict::Refused(_))) => {
            Some(good("limits", "a second hit of a limit of one was rejected"))
        }
        Ok(_) => Some(bad("limits", "a second hit of a limit of one was not rejected", "report this defect")),
        Err(_) => None,
    };
    let checks = [
        of_object("KEY_LEDGER", ledger),
        of_object("PROVIDER_HEALTH", health),
        of_object("NOTIFIER", notifier),
        of_object("RATE_LIMITER", hits.map(|_| ())),
    ];
    checks.into_iter().chain(limits).collect()
}

fn of_object(binding: &str, answered: Result<(), ObjectError>) -> Check {
    let name = format!("object {binding}");
    match answered {
        Ok(()) => good(name, "responds"),
        Err(ObjectError::NotBound) => bad(
            name,
            "is not bound",
            format!("bind the Durable Object as {binding}, as wrangler.toml of the release does"),
        ),
        Err(ObjectError::Failed(why)) => bad(
            name,
            format!("does not respond: {why}"),
            "see the log of the Worker, and deploy the migrations of wrangler.toml",
        ),
    }
}

/// The calls to the providers.
struct Called {
    checks: Vec<Check>,
    /// The cost in micro-USD; `None` if it is not known.
    spent: Option<u64>,
    /// The first model for conversations that answered.
    model: Option<String>,
}

/// Calls each provider with its first key.
async fn providers(context: &RequestContext<'_>, isolate: &Isolate, active: &[&Entry]) -> Called {
    let (mut checks, mut spent, mut model) = (Vec::new(), Some(0_u64), None);
    for group in active.chunks(AT_ONCE) {
        let name = |entry: &Entry| format!("provider {}", entry.name);
        if context.elapsed_ms() > LAST_MS {
            let fix = "test it alone: gateway-operator providers test";
            checks.extend(
                group.iter().map(|entry| bad(name(entry), "was not called: there was no time left", fix)),
            );
            continue;
        }
        let call = |entry: &&Entry| {
            let secret = entry.keys().first().map(|key| &key.secret);
            (name(entry), trial::send(context, isolate, entry, secret, None, TRIAL_MS))
        };
        let begun: Vec<_> = group.iter().map(call).collect();
        for (name, trial) in begun {
            let report = match trial {
                Ok(trial) => trial.settle().await,
                Err(error) => {
                    checks.push(bad(name, error.message, "see the finding"));
                    continue;
                }
            };
            spent = spent.zip(report.cost).map(|(spent, cost)| spent + cost);
            if report.ok && report.is_chat && model.is_none() {
                model = Some(report.model.clone());
            }
            checks.push(of_trial(name, report));
        }
    }
    Called { checks, spent, model }
}

fn of_trial(name: String, report: TrialReport) -> Check {
    let TrialReport { ok, model, status, class, message, cost_usd, .. } = report;
    if ok {
        let cost = cost_usd.map_or_else(|| "an unknown cost".to_owned(), |cost| format!("{cost} US dollars"));
        return good(name, format!("{model} answered, for {cost}"));
    }
    let class = class.unwrap_or_default();
    let fix = match class {
        "credential_rejected" | "forbidden" => "replace the key: the provider does not accept it",
        "quota_spent" => "add credit to the account at the provider",
        "throttled" => "wait, or raise the limits of the account at the provider",
        "model_gone" => "name a model that the provider has: gateway-operator providers keys test --model",
        "unreachable" | "timed_out" => "check the address of the provider, and its status page",
        _ => "see the finding, and the status page of the provider",
    };
    let said = message.unwrap_or_default();
    bad(name, format!("{model}: {class} ({status}): {}", clip(&said)), fix)
}

fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}
