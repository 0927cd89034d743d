//! What an upstream says that a call has used.

use serde::{Deserialize, Serialize};

/// Tokens of one call. Members that an upstream leaves out are `None`: unknown, not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Usage {
    /// Tokens of the input.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the output, reasoning included.
    pub completion_tokens: Option<u64>,
}
