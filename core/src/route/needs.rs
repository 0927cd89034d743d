//! What a call needs of a model, derived from the request, and what a model lacks of it.
//!
//! It is asked only where there is a choice. A model that the caller names alone is taken at the caller's word: the
//! catalogue may be behind the provider.

use std::fmt;

use crate::catalog::Facts;
use crate::format::request::Needs;
use crate::tier::Tier;

/// One thing that a model lacks.
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
    /// Its longest input, in tokens, is shorter than what is needed.
    Context {
        /// The model's.
        has: u32,
        /// The call's.
        needs: u64,
    },
    /// Its longest output, in tokens.
    Output {
        /// The model's.
        has: u32,
        /// The call's.
        needs: u64,
    },
    /// Its tier.
    Tier {
        /// The model's.
        has: Tier,
        /// The call's.
        needs: Tier,
    },
}

impl Needs {
    /// What a model lacks. Of a model of which something is known, what is not known is lacking; a model of which nothing is
    /// known at all, as the operator's own often are, is taken to be able.
    pub fn lacks(&self, facts: &Facts) -> Vec<Lack> {
        let capabilities = [facts.tools, facts.json_mode, facts.json_schema, facts.vision, facts.reasoning];
        if facts.context.or(facts.max_output).is_none() && capabilities.iter().all(Option::is_none) {
            return self.lacks_tier(facts).into_iter().collect();
        }
        let short = |has: Option<u32>, needs: u64| has.filter(|has| u64::from(*has) < needs);
        [
            (self.tools && facts.tools != Some(true)).then_some(Lack::Tools),
            // Nearly every model has it, and tables tell of the exceptions.
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

    /// What is needed, for people.
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
            Lack::Tools => formatter.write_str("is not known to call tools"),
            Lack::JsonMode => formatter.write_str("has no JSON mode"),
            Lack::JsonSchema => formatter.write_str("is not known to keep to a JSON schema"),
            Lack::Vision => formatter.write_str("is not known to see images"),
            Lack::Context { has, needs } => write!(formatter, "reads {has} tokens, not {needs}"),
            Lack::Output { has, needs } => write!(formatter, "writes {has} tokens, not {needs}"),
            Lack::Tier { has, needs } => {
                write!(formatter, "is of reasoning level {}, below {}", has.as_str(), needs.as_str())
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
    fn derives_what_is_needed() {
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
    fn says_what_a_model_lacks() {
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
