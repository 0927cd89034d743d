//! The parts that only the provider can read: the signature of a thinking block and the data of a redacted one. Both are bound to
//! the model, a signature also to the text, and both are verified without any state.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The signature of a thought of this model.
pub(super) fn sign(model: &str, thought: &str) -> String {
    // The same for all instances, and between two starts of the program.
    let mut hasher = DefaultHasher::new();
    thought.hash(&mut hasher);
    STANDARD.encode(format!("simulated signature|{model}|{:016x}", hasher.finish()))
}

/// The data of a redacted thought of this model.
pub(super) fn redact(model: &str) -> String {
    STANDARD.encode(format!("simulated redacted thinking|{model}"))
}
