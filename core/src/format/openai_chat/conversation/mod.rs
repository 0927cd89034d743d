//! Chat Completions requests in the neutral form, for calls whose upstream serves another format than the caller's.
//!
//! # Reasoning
//! OpenAI's API has no place for the reasoning of other makers, and clients echo different extensions. The gateway
//! writes the text as `reasoning_content`, and the text with its blob as one item of `reasoning_details`, as
//! `OpenRouter` defines it: `signature` or `data` has the marked blob (`conversation::carrier`). It reads both, and
//! `LiteLLM`'s `thinking_blocks`, from a caller. To an upstream of this format it returns only the reasoning of that
//! upstream.

mod fields;
mod read;
mod write;

pub use read::read;
pub use write::write;
