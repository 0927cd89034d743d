//! The capabilities that a call needs, and the ones that a model lacks.
//!
//! Models are checked only if there is a choice. If the caller names a single model, that model is called: the
//! catalogue may be behind the provider.

use std::fmt;

use crate::catalog::Facts;
use crate::format::request::Needs;
use crate::tier::Tier;

/// A capability that a model lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Tools.
    Tools,
    /// JSON mode.
    JsonMode,
    /// JSON schemas.
    JsonSchema,
    /// Vision.
    Vision,
    /// Input tokens: the model accepts fewer than the call needs.
    Context {
        /// The model's maximum.
        has: u32,
        /// The call's need.
        needs: u64,
    },
    /// Output tokens: the model writes fewer than the call needs.
    Output {
        /// The model's maximum.
        has: u32,
        /// The call's need.
        needs: u64,
    },
    /// The tier is below the one that the call needs.
    Tier {
        /// The model's tier.
        has: Tier,
        /// The lowest tier that the call accepts.
        needs: Tier,
    },
}

impl Needs {
    /// The capabilities that a model lacks. If the catalogue knows some facts of a model, unknown capabilities count as
    /// missing; a model without any facts, as the operator's own often are, counts as capable.
    pub fn lacks(&self, facts: &Facts) -> Vec<Lack> {
        let capabilities = [facts.tools, facts.json_mode, facts.json_schema, facts.vision, facts.reasoning];
        if facts.context.or(facts.max_output).is_none() && capabilities.iter().all(Option::is_none) {
            return self.lacks_tier(facts).into_iter().collect();
        }
        let short = |has: Option<u32>, needs: u64| has.filter(|has| u64::from(*has) < needs);
        [
            (self.tools && facts.tools != Some(true)).then_some(Lack::Tools),
            // Nearly every model has JSON mode, and catalogues list the exceptions.
            (self.json_mode && facts.json_mode == Some(false)).then_some(Lack::JsonMode),
            (self.json_schema && facts.json_schema != Some(true)).then_some(Lack::JsonSchema),
            (self.vision && facts.vision != Some(true)).then_some(Lack::Vision),
            short(facts.context, self.input_tokens)
                .map(|has| Lack::Context { has, needs: self.input_tokens }),
            self.output_tokens
                .and_then(|needs| short(facts.max_output, needs).map(|has| Lack::Output { has, needs })),
            self.lacks_tier(facts),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn lacks_tier(&self, facts: &Facts) -> Option<Lack> {
        let (has, needs) = (facts.effective_tier(), self.min_tier?);
        (has < needs).then_some(Lack::Tier { has, needs })
    }

    /// The needs in a sentence.
    pub fn describe(&self) -> String {
        let mut parts: Vec<String> = [
            (self.tools, "tools"),
            (self.json_mode, "JSON mode"),
            (self.json_schema, "a JSON schema"),
            (self.vision, "vision"),
        ]
        .into_iter()
        .filter(|(needed, _)| *needed)
        .map(|(_, what)| what.to_owned())
        .collect();
        parts.push(format!("about {} tokens of context", self.input_tokens));
        parts.extend(self.output_tokens.map(|tokens| format!("{tokens} tokens of output")));
        parts.extend(self.min_tier.map(|tier| format!("reasoning level {} or above", tier.as_str())));
        parts.join(", ")
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Tools => formatter.write_str("is not known to support tools"),
            Lack::JsonMode => formatter.write_str("does not support JSON mode"),
            Lack::JsonSchema => formatter.write_str("is not known to support JSON schemas"),
            Lack::Vision => formatter.write_str("is not known to support images"),
            Lack::Context { has, needs } => {
                write!(formatter, "accepts {has} input tokens, but the call needs {needs}")
            }
            Lack::Output { has, needs } => {
                write!(formatter, "writes at most {has} tokens, but the call needs {needs}")
            }
            Lack::Tier { has, needs } => {
                write!(formatter, "has reasoning level {}, below {}", has.as_str(), needs.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(rest: &str) -> Needs {
        let body = format!(r#"{{"model":"auto",{rest}}}"#);
        crate::format::read(&crate::operation::CHAT_COMPLETIONS, body.as_bytes()).unwrap().needs
    }

    fn able() -> Facts {
        Facts {
            context: Some(8000),
            max_output: Some(1000),
            tools: Some(true),
            json_schema: Some(true),
            vision: Some(true),
            ..Facts::default()
        }
    }

    #[test]
    fn derives_the_needs_of_a_request() {
        let plain = needs(r#""messages":[{"role":"user","content":"say \"image_url\""}]"#);
        assert_eq!(plain, Needs { input_tokens: plain.input_tokens, ..Needs::default() });
        let image = format!(
            r#""messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]"#,
            "A".repeat(1_000_000)
        );
        let image = needs(&image);
        assert!(image.vision && (1000..2000).contains(&image.input_tokens), "{image:?}");
        let escaped =
            needs(r#""messages":[{"content":[{"type":"x","image":"data:image\/png;base64,AAAA"}]}]"#);
        assert!(escaped.vision);
        let text = format!(r#""messages":[{{"content" : "data:image/{}"}}]"#, "A".repeat(4000));
        let text = needs(&text);
        assert!(!text.vision && text.input_tokens > 1000, "a text, whatever it begins with: {text:?}");
        let all = needs(
            r#""messages":[],"tools":[{}],"response_format":{"type":"json_schema"},"max_tokens":9,"min_reasoning_level":"high""#,
        );
        assert!(all.tools && all.json_schema && !all.json_mode);
        assert_eq!((all.output_tokens, all.min_tier), (Some(9), Some(Tier::High)));
    }

    #[test]
    fn lists_the_capabilities_that_a_model_lacks() {
        let all = Needs {
            tools: true,
            json_mode: true,
            json_schema: true,
            vision: true,
            input_tokens: 9000,
            output_tokens: Some(2000),
            effort: None,
            min_tier: Some(Tier::High),
        };
        let facts = Facts {
            context: Some(8000),
            max_output: Some(1000),
            tier: Some(Tier::Low),
            json_mode: Some(false),
            ..Facts::default()
        };
        assert_eq!(all.lacks(&facts).len(), 7);
        assert_eq!(Needs { min_tier: None, ..all }.lacks(&Facts::default()), [], "nothing is known of it");
        let some = Needs { input_tokens: 8000, output_tokens: Some(1000), min_tier: None, ..all };
        assert_eq!(some.lacks(&able()), []);
        assert_eq!(
            Needs { input_tokens: 8001, ..some }.lacks(&able()),
            [Lack::Context { has: 8000, needs: 8001 }]
        );
    }
}
