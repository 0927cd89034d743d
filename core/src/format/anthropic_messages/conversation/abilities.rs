//! The parts of Messages that a model accepts.
//!
//! They follow from the generation of Claude in the model's id; the catalogue's facts override it where it has them. A
//! model that is not Claude, reached at a provider that serves Messages, gets the fields that such providers agree on.

use crate::catalog::Facts;
use crate::conversation::Effort;

/// The output limit of a model whose maximum is unknown, in tokens.
const USUAL_OUTPUT: u64 = 8192;

/// The parts of Messages that a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "abilities are independent of each other")]
pub(super) struct Abilities {
    /// The maximum output, in tokens; `None` if unknown.
    pub(super) max_output: Option<u64>,
    /// The model thinks if asked to.
    pub(super) thinks: bool,
    /// It cannot be kept from thinking.
    pub(super) always_thinks: bool,
    /// It accepts `thinking: {type: adaptive}`.
    pub(super) adaptive: bool,
    /// It accepts `thinking: {type: enabled, budget_tokens}`.
    pub(super) budgets: bool,
    /// The values of `output_config.effort` that it accepts; empty if it does not accept the field.
    pub(super) efforts: Efforts,
    /// It accepts `temperature`, `top_p` and `top_k`.
    pub(super) sampling: bool,
    /// It accepts `temperature` and `top_p` together.
    pub(super) both_samplings: bool,
    /// It continues an assistant message at the end of the request.
    pub(super) prefill: bool,
    /// It accepts messages of the role `system`.
    pub(super) system_messages: bool,
    /// It accepts JSON Schemas for its output and for strict tools.
    pub(super) schemas: bool,
}

/// A set of efforts: one flag for each of [`Effort::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Efforts([bool; Effort::ALL.len()]);

impl Efforts {
    /// The efforts for which `accepts` returns `true`.
    fn those(accepts: impl Fn(Effort) -> bool) -> Efforts {
        Efforts(Effort::ALL.map(accepts))
    }

    /// The efforts in the set, from least to most.
    fn all(self) -> impl DoubleEndedIterator<Item = Effort> {
        Effort::ALL.into_iter().zip(self.0).filter_map(|(effort, is_in)| is_in.then_some(effort))
    }

    /// The effort in the set that is nearest to the wanted one, a lower one before a higher one; `None` if the set is empty.
    pub(super) fn nearest(self, wanted: Effort) -> Option<Effort> {
        self.all().rev().find(|effort| *effort <= wanted).or_else(|| self.all().next())
    }
}

/// A version of Claude, as in `claude-opus-4-8`.
type Version = (u8, u8);

/// Versions that changed what requests may have; each holds for all later ones. Sources: the capability flags of
/// the model table, Anthropic's reference of each field, and recorded requests.
const THINKS: Version = (3, 7);
const SCHEMAS: Version = (4, 5);
const ONE_SAMPLING: Version = (4, 1);
const ADAPTIVE: Version = (4, 6);
const NO_PREFILL: Version = (4, 6);
const NO_BUDGETS: Version = (4, 7);
const XHIGH: Version = (4, 7);
const NO_SAMPLING: Version = (4, 7);
const SYSTEM_MESSAGES: Version = (4, 8);
/// The version of an id without one, such as `claude-mythos-preview`.
const NEWEST: Version = (u8::MAX, 0);

impl Abilities {
    /// The abilities of a model, by its provider's id and its facts.
    pub(super) fn of(model: &str, facts: &Facts) -> Abilities {
        let claude = Claude::read(model);
        let known = claude.map_or_else(Abilities::usual, Claude::abilities);
        // A budget depends on two facts: without them, reasoning alone says nothing.
        let has_budget_facts = facts.adaptive_thinking.is_some() || facts.sampling_params.is_some();
        let budgets = facts.accepts_thinking_budget().filter(|_| has_budget_facts);
        // The facts about the efforts of other models are those of other formats. No version of Claude has `minimal`.
        let accepts = |effort: Effort| {
            let fact = facts.accepts_effort(effort).filter(|_| claude.is_some() && effort != Effort::Minimal);
            fact.unwrap_or_else(|| known.efforts.all().any(|known| known == effort))
        };
        Abilities {
            max_output: facts.max_output.map(u64::from),
            thinks: facts.reasoning.unwrap_or(known.thinks),
            always_thinks: facts.thinking_always_on.unwrap_or(known.always_thinks),
            adaptive: facts.adaptive_thinking.unwrap_or(known.adaptive),
            budgets: budgets.unwrap_or(known.budgets),
            efforts: Efforts::those(accepts),
            sampling: facts.sampling_params.unwrap_or(known.sampling),
            both_samplings: known.both_samplings,
            prefill: facts.prefill.unwrap_or(known.prefill),
            system_messages: facts.system_turns.unwrap_or(known.system_messages),
            schemas: facts.json_schema.unwrap_or(known.schemas),
        }
    }

    /// The abilities of a model that is not Claude.
    fn usual() -> Abilities {
        Abilities {
            max_output: None,
            thinks: true,
            always_thinks: false,
            adaptive: false,
            budgets: true,
            efforts: Efforts::default(),
            sampling: true,
            both_samplings: true,
            prefill: true,
            system_messages: false,
            schemas: false,
        }
    }

    /// The output limit of a request that states none, in tokens.
    pub(super) fn usual_output(&self) -> u64 {
        self.max_output.unwrap_or(USUAL_OUTPUT)
    }
}

/// The family and version of a Claude model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claude {
    family: Option<&'static str>,
    version: Version,
}

impl Claude {
    /// Reads an id, whatever a provider puts before and after it: `claude-3-5-sonnet-20241022`,
    /// `anthropic/claude-sonnet-4.5`, `eu.anthropic.claude-opus-4-5-20251101-v1:0`, `claude-opus-4@20250514`.
    fn read(model: &str) -> Option<Claude> {
        const FAMILIES: [&str; 6] = ["haiku", "sonnet", "opus", "fable", "mythos", "instant"];
        let model = model.to_ascii_lowercase();
        let (_, name) = model.rsplit_once("claude")?;
        let words = || name.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let family = FAMILIES.into_iter().find(|family| words().any(|word| word == *family));
        // Dates have more digits than versions.
        let mut numbers = words()
            .map(|word| word.strip_prefix('v').unwrap_or(word))
            .take_while(|word| word.len() < 6 || word.parse::<u64>().is_err())
            .filter_map(|word| word.parse::<u8>().ok());
        let version = match (numbers.next(), numbers.next()) {
            (Some(major), minor) => (major, minor.unwrap_or(0)),
            (None, _) if family == Some("instant") => (1, 0),
            (None, _) => NEWEST,
        };
        Some(Claude { family, version })
    }

    fn abilities(self) -> Abilities {
        let Claude { family, version } = self;
        let efforts: &[Effort] = match version {
            version if version >= XHIGH => {
                &[Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max]
            }
            version if version >= ADAPTIVE => &[Effort::Low, Effort::Medium, Effort::High, Effort::Max],
            (4, 5) if family == Some("opus") => &[Effort::Low, Effort::Medium, Effort::High],
            _ => &[],
        };
        let always_thinks = match family {
            Some("fable" | "mythos") => true,
            Some("opus" | "sonnet") => version >= (5, 5),
            _ => false,
        };
        Abilities {
            max_output: None,
            thinks: version >= THINKS,
            always_thinks,
            adaptive: version >= ADAPTIVE,
            budgets: (THINKS..NO_BUDGETS).contains(&version),
            efforts: Efforts::those(|effort| efforts.contains(&effort)),
            sampling: version < NO_SAMPLING,
            both_samplings: version < ONE_SAMPLING,
            prefill: version < NO_PREFILL,
            system_messages: version >= SYSTEM_MESSAGES,
            schemas: version >= SCHEMAS || (family == Some("opus") && version >= (4, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(model: &str) -> Abilities {
        Abilities::of(model, &Facts::default())
    }

    #[test]
    fn the_version_is_read_from_every_style_of_id() {
        for (model, family, version) in [
            ("claude-opus-4-8", "opus", (4, 8)),
            ("claude-opus-4-20250514", "opus", (4, 0)),
            ("claude-3-5-sonnet-20241022", "sonnet", (3, 5)),
            ("claude-3-opus-20240229", "opus", (3, 0)),
            ("anthropic/claude-sonnet-4.5", "sonnet", (4, 5)),
            ("eu.anthropic.claude-opus-4-5-20251101-v1:0", "opus", (4, 5)),
            ("us-gov-east-1/anthropic.claude-haiku-5-5", "haiku", (5, 5)),
            ("claude-opus-4@20250514", "opus", (4, 0)),
            ("Claude-Opus-5-5-fast", "opus", (5, 5)),
            ("claude-fable-5", "fable", (5, 0)),
            ("claude-mythos-preview", "mythos", NEWEST),
            ("anthropic.claude-instant-v1", "instant", (1, 0)),
        ] {
            assert_eq!(Claude::read(model), Some(Claude { family: Some(family), version }), "{model}");
        }
        let old = Claude::read("anthropic.claude-v2:1").unwrap();
        assert_eq!((old.family, old.version), (None, (2, 1)));
        assert_eq!(Claude::read("deepseek-chat"), None);
    }

    /// The capability flags of the model table of November 2026, and the recorded requests.
    #[test]
    fn generations_differ_in_what_they_accept() {
        // Thinks, adaptive, budgets, number of efforts, sampling, prefill, system messages, schemas.
        let flags = |model| {
            let of = of(model);
            (
                of.thinks,
                of.adaptive,
                of.budgets,
                of.efforts.all().count(),
                of.sampling,
                of.prefill,
                of.system_messages,
                of.schemas,
            )
        };
        for (model, expected) in [
            ("claude-3-5-haiku-20241022", (false, false, false, 0, true, true, false, false)),
            ("claude-3-7-sonnet-20250219", (true, false, true, 0, true, true, false, false)),
            ("claude-sonnet-4-0", (true, false, true, 0, true, true, false, false)),
            ("claude-haiku-4-5", (true, false, true, 0, true, true, false, true)),
            ("claude-opus-4-5", (true, false, true, 3, true, true, false, true)),
            ("claude-opus-4-6", (true, true, true, 4, true, false, false, true)),
            ("claude-sonnet-4-6", (true, true, true, 4, true, false, false, true)),
            ("claude-opus-4-7", (true, true, false, 5, false, false, false, true)),
            ("claude-opus-4-8", (true, true, false, 5, false, false, true, true)),
            ("claude-sonnet-5", (true, true, false, 5, false, false, true, true)),
            ("claude-haiku-5-5", (true, true, false, 5, false, false, true, true)),
            ("claude-mythos-preview", (true, true, false, 5, false, false, true, true)),
            ("kimi-k3", (true, false, true, 0, true, true, false, false)),
        ] {
            assert_eq!(flags(model), expected, "{model}");
        }
        for (model, always) in [
            ("claude-opus-5", false),
            ("claude-haiku-5-5", false),
            ("claude-opus-5-5", true),
            ("claude-sonnet-5-5", true),
            ("claude-fable-5", true),
        ] {
            assert_eq!(of(model).always_thinks, always, "{model}");
        }
        let facts = Facts { json_schema: Some(true), max_output: Some(9), ..Facts::default() };
        let deepseek = Abilities::of("deepseek-chat", &facts);
        assert!(deepseek.schemas && deepseek.usual_output() == 9);
    }

    #[test]
    fn facts_of_the_catalogue_override_the_version() {
        let known = |sampling, adaptive, prefill, max| Facts {
            reasoning: Some(true),
            sampling_params: sampling,
            adaptive_thinking: adaptive,
            prefill,
            efforts: crate::catalog::Efforts { max, ..crate::catalog::Efforts::default() },
            ..Facts::default()
        };
        let of = |model, facts: Facts| Abilities::of(model, &facts);
        let older = of("claude-opus-4-8", known(Some(true), Some(false), Some(true), Some(false)));
        assert_eq!((older.sampling, older.adaptive, older.budgets, older.prefill), (true, false, true, true));
        assert_eq!(older.efforts.nearest(Effort::Max), Some(Effort::XHigh));
        let newer = of("claude-sonnet-4-5", known(Some(false), Some(true), Some(false), Some(true)));
        assert_eq!(
            (newer.sampling, newer.adaptive, newer.budgets, newer.prefill),
            (false, true, false, false)
        );
        for (wanted, nearest) in
            [(Effort::Minimal, Effort::Low), (Effort::XHigh, Effort::High), (Effort::Max, Effort::Max)]
        {
            assert_eq!(newer.efforts.nearest(wanted), Some(nearest), "{wanted:?}");
        }
        // Reasoning alone says nothing about budgets, and another model's efforts nothing about this format.
        assert!(!of("claude-opus-4-8", known(None, None, None, None)).budgets);
        assert_eq!(of("kimi-k3", known(None, None, None, Some(true))).efforts.nearest(Effort::Max), None);
    }
}
