//! The parts that only the provider can read: encrypted reasoning and compactions. Both are bound to the account that got
//! them, and are verified without any state.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The beginning of everything that OpenAI encrypts.
const BEGIN: &str = "gAAAAAB";

/// The content of a sealed text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reasoning,
    Compaction,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Reasoning => "reasoning",
            Self::Compaction => "compaction",
        }
    }
}

/// The sealed text of an account.
pub(super) fn seal(kind: Kind, account: &str) -> String {
    // The same for all instances, and between two starts of the program.
    let mut hasher = DefaultHasher::new();
    account.hash(&mut hasher);
    let text = format!("simulated {}|{:016x}", kind.name(), hasher.finish());
    format!("{BEGIN}{}", URL_SAFE_NO_PAD.encode(text))
}
