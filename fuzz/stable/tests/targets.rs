//! Every fuzz target, over its seeds and over a fixed number of changes of them. `FUZZ_SEED` chooses other changes,
//! `FUZZ_SECONDS` explores each target for that long instead; `scripts/fuzz --stable` sets both.
#![expect(clippy::panic, reason = "the targets are assertions")]

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::{Effort, explore};

/// The targets: each file of `fuzz/fuzz_targets`.
macro_rules! targets {
    ($($name:ident $path:literal)+) => {
        $(
            #[path = $path]
            #[allow(unused_attributes, reason = "`no_main` is for the crates that cargo-fuzz makes of the targets")]
            #[allow(clippy::all, clippy::pedantic, clippy::indexing_slicing, clippy::string_slice, reason = "as for cargo-fuzz")]
            mod $name;
        )+

        const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run),)+];
    };
}

targets! {
    chat_request "../../fuzz_targets/chat_request.rs"
    chat_response "../../fuzz_targets/chat_response.rs"
    chat_stream "../../fuzz_targets/chat_stream.rs"
    config "../../fuzz_targets/config.rs"
    embeddings "../../fuzz_targets/embeddings.rs"
    form "../../fuzz_targets/form.rs"
    key_format "../../fuzz_targets/key_format.rs"
    key_request "../../fuzz_targets/key_request.rs"
    key_ring "../../fuzz_targets/key_ring.rs"
    messages_request "../../fuzz_targets/messages_request.rs"
    messages_stream "../../fuzz_targets/messages_stream.rs"
    new_key "../../fuzz_targets/new_key.rs"
    objects "../../fuzz_targets/objects.rs"
    submission "../../fuzz_targets/submission.rs"
    translated_stream "../../fuzz_targets/translated_stream.rs"
    upstream_error "../../fuzz_targets/upstream_error.rs"
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_target_holds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let seconds = number("FUZZ_SECONDS");
    let effort = Effort {
        seed: number("FUZZ_SEED").unwrap_or(1),
        executions: if seconds.is_some() { u64::MAX } else { 3_000 },
        time: Duration::from_secs(seconds.unwrap_or(6)),
    };
    let only = env::var("FUZZ_TARGET").ok();
    let chosen = TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name));
    let mut violations = Vec::new();
    for (name, run) in chosen {
        match explore(name, *run, &fuzz, effort) {
            Ok(executions) => println!("{name}: {executions} executions with FUZZ_SEED={}", effort.seed),
            Err(violation) => violations.push(violation),
        }
    }
    assert!(violations.is_empty(), "{}\nFUZZ_SEED={}", violations.join("\n"), effort.seed);
}

#[test]
fn every_file_is_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz_targets");
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    assert_eq!(names, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
}
