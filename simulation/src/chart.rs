//! One day as a picture: an SVG that needs nothing else, on a background of its own, so that it can be read on light and
//! dark pages.

use std::fmt::Write as _;

use crate::Policy;
use crate::day::{BEGIN_MS, DAY_MS};
use crate::scenario::{Fault, World};
use crate::tally::{SLOT_MS, Tally};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 932.0;
/// The plot of answered calls, that of calls, and the first line of the providers.
const PLOT: (f64, f64) = (128.0, 330.0);
const CALLS: (f64, f64) = (346.0, 378.0);
const ROWS: f64 = 416.0;
const ROW: f64 = 19.0;

pub(crate) const TEXT: &str = "#22292d";
pub(crate) const QUIET: &str = "#5b666d";
pub(crate) const LINE: &str = "#dcdfdc";

/// The colour of a way of routing, how broad its line is, and how it is dashed.
fn style(policy: Policy) -> (&'static str, f64, &'static str) {
    match policy {
        Policy::Ours => ("#0b6e6e", 2.6, ""),
        Policy::Original => ("#c4601a", 1.6, "6 3"),
        Policy::InTurn => ("#7465b5", 1.6, "2 3"),
    }
}

/// The colour of an incident: no answer, a late one, or a worse one.
fn colour(fault: Fault) -> &'static str {
    match fault {
        Fault::Errors | Fault::Unreachable | Fault::NoMoney | Fault::Gone | Fault::Refuses => "#d98a83",
        Fault::Hangs | Fault::Stalls | Fault::EarlyErrors | Fault::Cuts => "#e3b565",
        Fault::Slow(_) | Fault::DeadKey(_) => "#a9bac4",
    }
}

pub(crate) struct Svg(pub(crate) String);

impl Svg {
    pub(crate) fn text(&mut self, (x, y): (f64, f64), size: f64, fill: &str, rest: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.0,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{fill}"{rest}>{text}</text>"#
        );
    }

    pub(crate) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), rest: &str) {
        let _ = writeln!(self.0, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {rest}/>"#);
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str, title: &str) {
        let _ = writeln!(
            self.0,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" fill="{fill}"><title>{title}</title></rect>"#
        );
    }
}

fn x_of(at_ms: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * (at_ms / DAY_MS as f64).clamp(0.0, 1.0)
}

/// Draws a day; the measurements are in the order of [`Policy::ALL`].
pub fn draw(world: &World, tallies: &[Tally]) -> String {
    let rows_end = ROWS + ROW * world.scenario.providers.len() as f64;
    let bars = rows_end + 56.0;
    let height = bars + 146.0;
    let mut svg = Svg(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title what\" font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif\">\n"
    ));
    let calls = tallies.first().map_or(0, |tally| tally.calls);
    let title = format!(
        "A day of {} calls against {} providers that fail",
        thousands(calls),
        world.scenario.providers.len()
    );
    let shares: Vec<String> = Policy::ALL
        .iter()
        .zip(tallies)
        .map(|(policy, tally)| format!("{} {:.2} %", policy.name(), tally.share() * 100.0))
        .collect();
    let _ = writeln!(
        svg.0,
        "<title id=\"title\">{title}</title>\n<desc id=\"what\">Answered to the end: {}.</desc>",
        shares.join(", ")
    );
    let _ = writeln!(
        svg.0,
        r##"<rect x="0.5" y="0.5" width="{}" height="{}" rx="10" fill="#fafaf8" stroke="{LINE}"/>"##,
        WIDTH - 1.0,
        height - 1.0
    );
    svg.text((28.0, 38.0), 20.0, TEXT, r#" font-weight="600""#, &title);
    let what = format!(
        "Simulation, seed {}. The same calls and the same outages under three ways of routing.",
        world.scenario.seed
    );
    svg.text((28.0, 60.0), 13.0, QUIET, "", &what);
    answered(&mut svg, tallies);
    providers(&mut svg, world, rows_end);
    measures(&mut svg, tallies, bars);
    svg.0.push_str("</svg>\n");
    svg.0
}

/// The share of calls that were answered, and how many there were.
fn answered(svg: &mut Svg, tallies: &[Tally]) {
    let (top, bottom) = PLOT;
    let share = |(calls, good): &(u64, u64)| *good as f64 / (*calls).max(1) as f64;
    let lowest = tallies.iter().flat_map(|tally| tally.slots.iter().map(share)).fold(1.0, f64::min);
    let step = if lowest < 0.6 { 0.2 } else { 0.1 };
    let floor = ((lowest / step).floor() * step).clamp(0.0, 0.9);
    let y_of = |share: f64| bottom - (bottom - top) * (share - floor) / (1.0 - floor);
    svg.text(
        (28.0, 88.0),
        13.0,
        TEXT,
        r#" font-weight="600""#,
        "Calls answered to the end, each quarter of an hour",
    );
    let mut level = floor;
    while level < 1.0 + 1e-9 {
        let y = y_of(level);
        svg.line((LEFT, y), (RIGHT, y), &format!(r#"stroke="{LINE}""#));
        let label = format!("{:.0} %", level * 100.0);
        svg.text((LEFT - 8.0, y + 4.0), 11.0, QUIET, r#" text-anchor="end""#, &label);
        level += step;
    }
    for (policy, tally) in Policy::ALL.iter().zip(tallies).rev() {
        let (stroke, width, dash) = style(*policy);
        let points: Vec<String> = tally
            .slots
            .iter()
            .enumerate()
            .map(|(slot, counts)| {
                let x = x_of((slot as f64 + 0.5) * SLOT_MS as f64);
                format!("{x:.1},{:.1}", y_of(share(counts)))
            })
            .collect();
        let _ = writeln!(
            svg.0,
            r#"<polyline fill="none" stroke="{stroke}" stroke-width="{width}" stroke-dasharray="{dash}" stroke-linejoin="round" points="{}"/>"#,
            points.join(" ")
        );
    }
    let mut x = LEFT;
    for (policy, tally) in Policy::ALL.iter().zip(tallies) {
        let (stroke, width, dash) = style(*policy);
        let rest = format!(r#"stroke="{stroke}" stroke-width="{width}" stroke-dasharray="{dash}""#);
        svg.line((x, 106.0), (x + 26.0, 106.0), &rest);
        let label = format!("{} {:.2} %", policy.name(), tally.share() * 100.0);
        svg.text((x + 33.0, 110.0), 12.0, TEXT, "", &label);
        x += label.chars().count() as f64 * 7.0 + 66.0;
    }
    let (top, bottom) = CALLS;
    let slots = tallies.first().map(|tally| tally.slots.as_slice()).unwrap_or_default();
    let most = slots.iter().map(|(calls, _)| *calls).max().unwrap_or(1).max(1);
    let mut path = format!("M{LEFT:.1},{bottom:.1}");
    for (slot, (calls, _)) in slots.iter().enumerate() {
        let y = bottom - (bottom - top) * *calls as f64 / most as f64;
        for edge in [slot, slot + 1] {
            let _ = write!(path, "L{:.1},{y:.1}", x_of(edge as f64 * SLOT_MS as f64));
        }
    }
    let _ = writeln!(svg.0, r##"<path d="{path}L{RIGHT:.1},{bottom:.1}Z" fill="#cfd8d8"/>"##);
    svg.text((LEFT - 8.0, bottom - 12.0), 11.0, QUIET, r#" text-anchor="end""#, "calls");
    svg.text(
        (LEFT - 8.0, bottom + 1.0),
        10.0,
        QUIET,
        r#" text-anchor="end""#,
        &format!("up to {}", thousands(most)),
    );
}

/// What befalls each provider, and the hours.
fn providers(svg: &mut Svg, world: &World, end: f64) {
    for (index, provider) in world.scenario.providers.iter().enumerate() {
        let y = ROWS + ROW * index as f64;
        svg.line((LEFT, y + ROW), (RIGHT, y + ROW), &format!(r#"stroke="{LINE}""#));
        svg.text((LEFT - 8.0, y + 13.5), 11.0, TEXT, r#" text-anchor="end""#, &provider.name);
        let of_it = || world.scenario.incidents.iter().filter(|incident| incident.provider == index);
        for incident in of_it() {
            let from = x_of(incident.from_ms.saturating_sub(BEGIN_MS) as f64);
            let until = x_of(incident.until_ms.saturating_sub(BEGIN_MS) as f64);
            let width = (until - from).max(2.0);
            let name = incident.fault.name();
            let part = if incident.share < 1.0 {
                format!(", {:.0} %", incident.share * 100.0)
            } else {
                String::new()
            };
            let label = format!("{name}{part}");
            svg.bar((from, y + 2.0), (width, ROW - 4.0), colour(incident.fault), &label);
            // The label stands inside, behind or before, wherever there is room.
            let needs = label.chars().count() as f64 * 5.8 + 8.0;
            let others = || of_it().filter(|other| other.from_ms != incident.from_ms);
            let place = |ms: u64| x_of(ms.saturating_sub(BEGIN_MS) as f64);
            let next = others().map(|other| place(other.from_ms)).filter(|x| *x > from).fold(RIGHT, f64::min);
            let before =
                others().map(|other| place(other.until_ms)).filter(|x| *x < until).fold(LEFT, f64::max);
            let at = y + 13.5;
            if needs <= width.min(next - from) {
                svg.text((from + 4.0, at), 10.0, TEXT, "", &label);
            } else if until + needs <= next {
                svg.text((until + 4.0, at), 10.0, QUIET, "", &label);
            } else if from - needs >= before {
                svg.text((from - 4.0, at), 10.0, QUIET, r#" text-anchor="end""#, &label);
            }
        }
    }
    svg.text((28.0, ROWS - 9.0), 13.0, TEXT, r#" font-weight="600""#, "What befalls the providers");
    for hour in (0..=24).step_by(3) {
        let x = x_of(f64::from(hour) * 3_600_000.0);
        svg.line((x, end), (x, end + 4.0), &format!(r#"stroke="{QUIET}""#));
        svg.text((x, end + 17.0), 11.0, QUIET, r#" text-anchor="middle""#, &format!("{hour:02}:00"));
    }
}

type Measure = (&'static str, fn(&Tally) -> f64, fn(f64) -> String);

/// Four small measures.
fn measures(svg: &mut Svg, tallies: &[Tally], y: f64) {
    let measures: [Measure; 4] = [
        (
            "First content, p95",
            |tally| tally.percentile_ms(0.95) as f64,
            |ms| format!("{:.1} s", ms / 1000.0),
        ),
        ("429s caused", |tally| tally.throttles as f64, |count| thousands(count as u64)),
        ("Price ÷ cheapest able model", Tally::price_ratio, |ratio| format!("{ratio:.1} ×")),
        ("Prompt cache reached", Tally::cached_share, |share| format!("{:.0} %", share * 100.0)),
    ];
    let width = (RIGHT - 28.0) / measures.len() as f64;
    for (index, (name, measure, write)) in measures.iter().enumerate() {
        let x = 28.0 + width * index as f64;
        svg.text((x, y), 12.0, TEXT, r#" font-weight="600""#, name);
        let most = tallies.iter().map(measure).fold(1e-9, f64::max);
        for (row, (policy, tally)) in Policy::ALL.iter().zip(tallies).enumerate() {
            let (value, top) = (measure(tally), y + 12.0 + 20.0 * row as f64);
            let length = (width - 168.0) * value / most;
            svg.text((x, top + 11.0), 11.0, QUIET, "", policy.name());
            svg.bar((x + 106.0, top), (length.max(1.0), 14.0), style(*policy).0, policy.name());
            svg.text((x + 110.0 + length.max(1.0), top + 11.0), 11.0, TEXT, "", &write(value));
        }
    }
    for (row, words) in [
        "score + cooldown: success, headroom, latency, fit; two attempts 0.5 to 5 s apart; a model that fails rests for 45 or 120 s.",
        "round robin: the next able model in turn, and the one after it if that fails. The first axis does not begin at 0.",
    ]
    .iter()
    .enumerate()
    {
        svg.text((28.0, y + 98.0 + 16.0 * row as f64), 11.0, QUIET, "", words);
    }
}

pub(crate) fn thousands(number: u64) -> String {
    match number / 1000 {
        0 => number.to_string(),
        more => format!("{more},{:03}", number % 1000),
    }
}
