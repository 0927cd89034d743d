//! Chat Completions responses in the neutral form, for calls whose upstream serves another format than the caller's.
//!
//! The stream of a native call is not read here: `openai_chat::stream` passes its bytes.

mod progress;
mod read;
mod write;

pub use read::{Reader, read_whole};
pub use write::{Options, Writer, write_whole};
