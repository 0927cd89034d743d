//! Generates a day: nine very different providers, their incidents, and some 40,000 calls.

use gatehouse_core::tier::Tier;
use serde_json::json;

use crate::rng::Rng;
use crate::scenario::{Call, Counting, Exchange, Fate, Fault, Incident, Model, Provider, Scenario, Wish};

/// Midnight of 2026-11-22 (UTC), in milliseconds since 1970.
pub const BEGIN_MS: u64 = 1_795_305_600_000;
/// A day, in milliseconds.
pub const DAY_MS: u64 = 86_400_000;
/// The approximate number of calls in a day.
pub const CALLS: u32 = 40_000;
const MINUTE_MS: u64 = 60_000;

/// The day of a seed, with about `calls` calls.
pub fn day(seed: u64, calls: u32) -> Scenario {
    let providers = providers();
    let incidents = incidents(&providers, &mut Rng::of(&[seed, 1]));
    Scenario {
        seed,
        incidents,
        calls: traffic(&mut Rng::of(&[seed, 2]), f64::from(calls)),
        providers,
        isolates: 6,
        isolate_life_ms: Some(90 * MINUTE_MS),
        restarts: vec![BEGIN_MS + DAY_MS / 3, BEGIN_MS + DAY_MS / 3 * 2],
        exchange: Exchange { way_ms: (2, 25), lost: 0.005, unanswered: 0.005 },
        settings: json!({
            "groups": {
                "chat": {"models": ["borealis/chat", "aurora/small", "delta/chat", "ember/free"]},
                "spread": {"models": ["glacier/base", "harbor/base", "borealis/chat"], "weights": [3, 2, 1]},
            },
        }),
    }
}

fn model(id: &str, tier: Tier, usd: (f64, f64), context: u32, first_ms: f64) -> Model {
    Model {
        id: id.to_owned(),
        tier,
        input_usd: usd.0,
        output_usd: usd.1,
        context,
        tools: true,
        first_ms,
        tokens_per_second: 80.0,
        known_per_day: None,
    }
}

/// A provider that reports nothing about its limits and seldom fails.
fn provider(name: &str, keys: u8, per_minute: u32, models: Vec<Model>) -> Provider {
    Provider {
        name: name.to_owned(),
        models,
        keys,
        per_minute: Some(per_minute),
        tokens_per_minute: None,
        per_day: None,
        counting: Counting::Bucket,
        retry_after: false,
        headers: false,
        failing: 0.003,
        varying: 0.35,
        cancel_stops_billing: None,
    }
}

fn providers() -> Vec<Provider> {
    use Tier::{High, Low, Medium};
    let small = |model: Model| Model { tools: false, ..model };
    vec![
        Provider {
            tokens_per_minute: Some(200_000),
            retry_after: true,
            headers: true,
            cancel_stops_billing: Some(true),
            ..provider(
                "aurora",
                2,
                40,
                vec![
                    model("large", High, (2.5, 10.0), 128_000, 1_100.0),
                    model("small", Medium, (0.4, 1.6), 128_000, 600.0),
                ],
            )
        },
        Provider {
            tokens_per_minute: Some(120_000),
            counting: Counting::Fixed,
            retry_after: true,
            ..provider("borealis", 3, 20, vec![model("chat", Medium, (0.5, 1.5), 128_000, 800.0)])
        },
        Provider {
            headers: true,
            ..provider(
                "cumulus",
                1,
                60,
                vec![
                    small(model("quick", Low, (0.05, 0.1), 32_000, 250.0)),
                    model("chat", Medium, (0.6, 0.8), 32_000, 500.0),
                ],
            )
        },
        provider("delta", 2, 25, vec![model("chat", Medium, (0.3, 0.9), 64_000, 900.0)]),
        Provider {
            per_day: Some(1_500),
            ..provider(
                "ember",
                1,
                15,
                vec![Model {
                    known_per_day: Some(1_500),
                    ..model("free", Medium, (0.02, 0.02), 32_000, 1_500.0)
                }],
            )
        },
        Provider {
            retry_after: true,
            headers: true,
            failing: 0.001,
            ..provider(
                "fjord",
                1,
                50,
                vec![
                    model("deep", High, (3.0, 15.0), 200_000, 2_500.0),
                    model("chat", Medium, (1.0, 3.0), 200_000, 1_400.0),
                ],
            )
        },
        Provider {
            failing: 0.02,
            counting: Counting::Fixed,
            varying: 0.6,
            cancel_stops_billing: Some(false),
            ..provider(
                "glacier",
                2,
                30,
                vec![
                    small(model("light", Low, (0.1, 0.2), 16_000, 400.0)),
                    model("base", Medium, (0.2, 0.6), 64_000, 700.0),
                ],
            )
        },
        Provider {
            per_day: Some(2_500),
            retry_after: true,
            ..provider("harbor", 1, 30, vec![model("base", Medium, (0.1, 0.3), 64_000, 1_000.0)])
        },
        Provider {
            failing: 0.004,
            ..provider("island", 1, 20, vec![model("mind", High, (1.2, 4.0), 128_000, 1_800.0)])
        },
    ]
}

/// One incident of each kind, most of them at different providers, and some short ones, at times that follow from the
/// seed.
fn incidents(providers: &[Provider], rng: &mut Rng) -> Vec<Incident> {
    let mut incidents = Vec::new();
    let mut order: Vec<usize> = (0..providers.len()).collect();
    for index in (1..order.len()).rev() {
        order.swap(index, rng.within(0, index as u64 + 1) as usize);
    }
    let mut next = order.iter().cycle().copied();
    let long = [
        (Fault::Errors, 20, 150, 1.0),
        (Fault::Hangs, 10, 60, 1.0),
        (Fault::EarlyErrors, 15, 90, 0.9),
        (Fault::Stalls, 10, 40, 0.8),
        (Fault::Cuts, 10, 60, 0.7),
        (Fault::Slow(6.0), 60, 180, 1.0),
        (Fault::Unreachable, 5, 60, 1.0),
        (Fault::NoMoney, 60, 240, 1.0),
        (Fault::Errors, 30, 120, 0.5),
    ];
    for (fault, least, most, share) in long {
        let Some(provider) = next.next() else { break };
        let from_ms = BEGIN_MS + rng.within(6 * 60, 22 * 60) * MINUTE_MS;
        let until_ms = from_ms + rng.within(least, most) * MINUTE_MS;
        incidents.push(Incident { provider, from_ms, until_ms, fault, share });
    }
    // One key of several is revoked, and replaced hours later.
    if let Some(provider) = providers.iter().position(|provider| provider.keys == 2) {
        let provider = if rng.chance(0.5) { provider } else { 3 };
        let from_ms = BEGIN_MS + rng.within(8 * 60, 16 * 60) * MINUTE_MS;
        let until_ms = from_ms + rng.within(120, 300) * MINUTE_MS;
        incidents.push(Incident { provider, from_ms, until_ms, fault: Fault::DeadKey(1), share: 1.0 });
    }
    // Hiccups of some minutes.
    for _ in 0..8 {
        let provider = rng.within(0, providers.len() as u64) as usize;
        let from_ms = BEGIN_MS + rng.within(0, 24 * 60 - 10) * MINUTE_MS;
        let until_ms = from_ms + rng.within(1, 6) * MINUTE_MS;
        let fault = if rng.chance(0.7) { Fault::Errors } else { Fault::Hangs };
        incidents.push(Incident { provider, from_ms, until_ms, fault, share: 1.0 });
    }
    incidents
}

/// The content of a session or of a single call.
#[derive(Clone)]
struct Kind {
    wish: Wish,
    prompt: u64,
    bytes: usize,
    stream: bool,
    effort: Option<Tier>,
    tools: bool,
}

fn kind(rng: &mut Rng) -> Kind {
    let affinity = rng.unit();
    let wish = match affinity {
        0.0..0.68 => Wish::Auto,
        0.68..0.78 => Wish::Group("chat".to_owned()),
        0.78..0.85 => Wish::Group("spread".to_owned()),
        0.85..0.93 => Wish::Models(vec!["borealis/chat".into(), "fjord/chat".into(), "aurora/small".into()]),
        _ => Wish::Models(vec!["aurora/large".into(), "fjord/deep".into(), "island/mind".into()]),
    };
    let is_auto = wish == Wish::Auto;
    let effort = match rng.unit() {
        _ if !is_auto => None,
        0.0..0.65 => None,
        0.65..0.85 => Some(Tier::Low),
        0.85..0.92 => Some(Tier::Medium),
        _ => Some(Tier::High),
    };
    // Some applications with long instructions, and people with short questions.
    let long = rng.chance(0.35);
    let prompt = if long { rng.within(0, 24) } else { 1_000 + rng.within(0, 1_000_000) };
    let bytes =
        if long { 8_000 + (prompt as usize * 997) % 24_000 } else { 200 + rng.within(0, 2_400) as usize };
    Kind { wish, prompt, bytes, stream: rng.chance(0.8), effort, tools: rng.chance(0.25) }
}

/// Calls by time: a day curve, bursts, sessions of several calls.
fn traffic(rng: &mut Rng, total: f64) -> Vec<Call> {
    let bursts: Vec<(u64, u64, f64)> = (0..8)
        .map(|_| {
            let from = BEGIN_MS + rng.within(7 * 60, 21 * 60) * MINUTE_MS;
            (from, from + rng.within(2, 9) * MINUTE_MS, 2.5 + 2.5 * rng.unit())
        })
        .collect();
    // Calls in a minute. On average, a session has 2.9 calls.
    let rate = |at_ms: u64| {
        let hour = (at_ms - BEGIN_MS) as f64 / 3_600_000.0;
        let curve = 0.25 + 1.5 * (-((hour - 14.0) / 4.5).powi(2)).exp();
        let burst = bursts.iter().filter(|(from, until, _)| *from <= at_ms && at_ms < *until);
        curve * burst.map(|(.., times)| *times).fold(1.0, f64::max)
    };
    let mut calls: Vec<Call> = Vec::new();
    let usual = total / 1_440.0 / 1.85 / 0.8;
    let mut at_ms = BEGIN_MS;
    let mut session = 0;
    while at_ms < BEGIN_MS + DAY_MS {
        at_ms += rng.wait(60_000.0 / (usual * rate(at_ms))) as u64 + 1;
        let kind = kind(rng);
        let turns = if rng.chance(0.25) { rng.within(2, 8) } else { 1 };
        session += 1;
        let (mut when_ms, mut bytes) = (at_ms, kind.bytes);
        for _ in 0..turns {
            if when_ms >= BEGIN_MS + DAY_MS {
                break;
            }
            let fate = match rng.unit() {
                0.0..0.003 => Fate::Refused,
                0.003..0.004 => Fate::ContentRefused,
                _ => Fate::Fine,
            };
            let output = 40 + (rng.normal() * 0.8 + 5.0).exp().min(1_500.0) as u32;
            calls.push(Call {
                id: 0,
                at_ms: when_ms,
                isolate: rng.within(0, 6) as usize,
                wish: kind.wish.clone(),
                session: (turns > 1).then_some(session),
                prompt: kind.prompt,
                bytes,
                output,
                stream: kind.stream,
                effort: kind.effort,
                tools: kind.tools,
                fate,
            });
            when_ms += 8_000 + rng.wait(35_000.0) as u64;
            bytes += 4 * output as usize + 300;
        }
    }
    calls.sort_by_key(|call| call.at_ms);
    for (id, call) in calls.iter_mut().enumerate() {
        call.id = id;
    }
    calls
}
