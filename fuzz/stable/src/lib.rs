//! A stand-in for `libfuzzer-sys` that needs no nightly toolchain: its macro makes an ordinary function of a fuzz target,
//! and [`explore`] runs it over the seeds and over random changes of them. The changes follow from a number, so that
//! a failure can be repeated.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use arbitrary;

/// Defines the function `run` of a target, as `libfuzzer_sys::fuzz_target` defines its entry point.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:expr) => {
        /// Runs the target with an input.
        pub fn run($bytes: &[u8]) {
            $body
        }
    };
    (|$input:ident: $type:ty| $body:expr) => {
        /// Runs the target with an input, unless it is too short for the target's type.
        pub fn run(bytes: &[u8]) {
            use $crate::arbitrary::{Arbitrary, Unstructured};
            if let Ok($input) = <$type>::arbitrary_take_rest(Unstructured::new(bytes)) {
                $body
            }
        }
    };
}

/// How long and from where to explore.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The number that the changes follow from.
    pub seed: u64,
    /// The changed inputs of a target.
    pub executions: u64,
    /// The longest time for a target.
    pub time: Duration,
}

/// Texts that the formats have in common, which are inserted into inputs.
const TOKENS: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "18446744073709551616",
    "\n",
    "\r",
    "\r\n\r\n",
    "data: ",
    "data: [DONE]\n\n",
    "event: error\n",
    ": ping\n\n",
    "\"usage\":null",
    "\"usage\":",
    "\"error\":",
    "\"choices\":[",
    "\"model\":",
    "\"stream\":true",
    "\"stream_options\":",
    "\\u0000",
    "\u{feff}",
    "é",
    "\u{2028}",
    "/",
    "KEY",
    "gw_",
];
/// No input is longer, in bytes.
const LONGEST: usize = 8_192;

/// Runs a target over its seeds, then over changes of them. The error names an input that violates a property, which is
/// written to `artifacts`.
#[expect(clippy::disallowed_methods, reason = "a native program has a clock")]
pub fn explore(name: &str, run: fn(&[u8]), fuzz: &Path, effort: Effort) -> Result<u64, String> {
    let mut corpus = Vec::new();
    for path in files(&fuzz.join("seeds").join(name)) {
        corpus.push(fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    if corpus.is_empty() {
        return Err(format!("{name} has no seeds in fuzz/seeds/{name}"));
    }
    for input in &corpus {
        check(name, run, fuzz, input)?;
    }
    let began = Instant::now();
    // Each target has changes of its own.
    let mixed = name.bytes().fold(effort.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut chance = Chance(mixed | 1);
    for execution in 0..effort.executions {
        if began.elapsed() > effort.time {
            return Ok(execution);
        }
        let input = changed(&corpus, &mut chance);
        check(name, run, fuzz, &input)?;
    }
    Ok(effort.executions)
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn check(name: &str, run: fn(&[u8]), fuzz: &Path, input: &[u8]) -> Result<(), String> {
    if catch_unwind(AssertUnwindSafe(|| run(input))).is_ok() {
        return Ok(());
    }
    let folder = fuzz.join("artifacts").join(name);
    let path = folder.join("violation");
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input));
    let place = written.map_or_else(|error| error.to_string(), |()| path.display().to_string());
    Err(format!(
        "{name} violates a property with {:?}\nthe input is in {place}",
        String::from_utf8_lossy(input)
    ))
}

/// A seed, or the beginning of one and the end of another, with a few changes.
fn changed(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = chance.choose(corpus).cloned().unwrap_or_default();
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        let end = (at + chance.below(32)).min(input.len());
        let part: Vec<u8> = input.get(at..end).unwrap_or_default().to_vec();
        match chance.below(9) {
            0 => input.truncate(at),
            1 => drop(input.splice(at..end, [])),
            2 => drop(input.splice(at..at, part)),
            3 => drop(input.splice(at..at, part.repeat(1 << chance.below(8)))),
            4 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            5 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = chance.byte();
                }
            }
            6 => {
                let other = chance.choose(corpus).cloned().unwrap_or_default();
                let from = chance.below(other.len() + 1);
                input.truncate(at);
                input.extend(other.get(from..).unwrap_or_default());
            }
            _ => {
                let token = chance.choose(TOKENS).copied().unwrap_or_default();
                input.splice(at..end.min(at + chance.below(3)).max(at), token.bytes());
            }
        }
        input.truncate(LONGEST);
    }
    input
}

/// A generator of random numbers (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A number from 0 to `limit` - 1; 0 if `limit` is 0.
    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or_default()
    }

    fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}
