//! The model that a translated request is written for, in any format.

use crate::catalog::Facts;
use crate::conversation::carrier::Maker;

/// The model that a translated request is written for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The name of the provider.
    pub provider: &'a str,
    /// The provider's id of the model.
    pub model: &'a str,
    /// The known facts about the model.
    pub facts: Facts,
    /// The lane, as the maker of reasoning.
    pub maker: Maker,
    /// `true` if the response is to be streamed.
    pub stream: bool,
    /// The longest output, in tokens, that a limit of the gateway allows.
    pub output_limit: Option<u64>,
}
