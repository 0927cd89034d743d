//! Token usage as upstreams report it.
//!
//! The field names of all formats are read at once, regardless of the provider. The cost of a call is computed
//! elsewhere (`ledger::price`).

use crate::json::members;
use crate::unit::Units;

/// An upper bound on the tokens of a call. A larger number is an error of the upstream and counts as missing.
const MOST: u64 = 1 << 40;

/// The names of numbers and of objects with further numbers. Objects are read by the same list, because some upstreams
/// use the names of their numbers at the top level.
const NAMES: &[&str; 23] = &[
    "prompt_tokens",
    "input_tokens",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
    // OpenAI, inside of the details; Moonshot, outside of them.
    "cached_tokens",
    // DeepSeek.
    "prompt_cache_hit_tokens",
    // Anthropic.
    "cache_read_input_tokens",
    // OpenAI and OpenRouter.
    "cache_write_tokens",
    // Anthropic.
    "cache_creation_input_tokens",
    "reasoning_tokens",
    // Anthropic, inside of the details.
    "thinking_tokens",
    "image_tokens",
    // Anthropic: an object with the two numbers below, which are the parts of `cache_creation_input_tokens`.
    "cache_creation",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
    // llama.cpp's `timings`, where the input excludes what is read from the cache.
    "prompt_n",
    "predicted_n",
    "cache_n",
];

/// The tokens of one call. `None` means that the upstream did not report the number: unknown, not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens, including those of the prompt cache.
    pub prompt_tokens: Option<u64>,
    /// Input tokens that were read from the provider's prompt cache.
    pub cached_tokens: Option<u64>,
    /// Input tokens that were written to the provider's prompt cache.
    pub cache_write_tokens: Option<u64>,
    /// The part of `cache_write_tokens` that was written for an hour instead of five minutes.
    pub cache_write_1h_tokens: Option<u64>,
    /// Output tokens, including reasoning.
    pub completion_tokens: Option<u64>,
    /// Output tokens of the reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Tokens of images, in the input and the output together.
    pub image_tokens: Option<u64>,
    /// The quantities of other units. Only the formats of media and searches read them.
    pub units: Units,
}

impl Usage {
    /// Reads a `usage` object as written. `None` if it is `null` or not an object; an impossible number counts as
    /// missing.
    pub fn read(text: &str) -> Option<Usage> {
        let Counts { mut usage, total, details, cache_apart } = Counts::read(text)?;
        for more in details.into_iter().flatten().filter_map(|text| Some(Counts::read(text)?.usage)) {
            // The same number may appear in two places; a 0 in one of them does not override the other.
            usage.cached_tokens = usage.cached_tokens.max(more.cached_tokens);
            usage.cache_write_tokens = usage.cache_write_tokens.max(more.cache_write_tokens);
            usage.cache_write_1h_tokens = usage.cache_write_1h_tokens.max(more.cache_write_1h_tokens);
            usage.reasoning_tokens = usage.reasoning_tokens.max(more.reasoning_tokens);
            // These are different images: input images and generated ones.
            usage.image_tokens = match (usage.image_tokens, more.image_tokens) {
                (Some(some), Some(more)) => Some(some + more),
                (some, more) => some.or(more),
            };
        }
        let cache = usage.cached_tokens.unwrap_or(0) + usage.cache_write_tokens.unwrap_or(0);
        usage.prompt_tokens = usage.prompt_tokens.map(|prompt| {
            // If the parts exceed the whole, they are not included in it.
            if cache_apart || cache > prompt { prompt + cache } else { prompt }
        });
        // xAI and Gemini exclude the reasoning from the output, but include it in the total.
        let rest = total.zip(usage.prompt_tokens).and_then(|(total, prompt)| total.checked_sub(prompt));
        usage.completion_tokens = usage.completion_tokens.max(rest.filter(|rest| *rest > 0));
        Some(usage)
    }

    /// A number of tokens, parsed; `None` if it is impossible. Strings count as numbers, and fractions are rounded up.
    pub fn count(value: &str) -> Option<u64> {
        value.parse().ok().or_else(|| lenient_count(value)).filter(|tokens| *tokens <= MOST)
    }

    /// The larger of two reports, number by number: a later report of zeros or of nothing erases none.
    #[must_use]
    pub fn larger(self, other: Usage) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens.max(other.prompt_tokens),
            cached_tokens: self.cached_tokens.max(other.cached_tokens),
            cache_write_tokens: self.cache_write_tokens.max(other.cache_write_tokens),
            cache_write_1h_tokens: self.cache_write_1h_tokens.max(other.cache_write_1h_tokens),
            completion_tokens: self.completion_tokens.max(other.completion_tokens),
            reasoning_tokens: self.reasoning_tokens.max(other.reasoning_tokens),
            image_tokens: self.image_tokens.max(other.image_tokens),
            units: self.units.max(other.units),
        }
    }

    /// The sum of two reports, number by number.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        let add = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        Usage {
            prompt_tokens: add(self.prompt_tokens, other.prompt_tokens),
            cached_tokens: add(self.cached_tokens, other.cached_tokens),
            cache_write_tokens: add(self.cache_write_tokens, other.cache_write_tokens),
            cache_write_1h_tokens: add(self.cache_write_1h_tokens, other.cache_write_1h_tokens),
            completion_tokens: add(self.completion_tokens, other.completion_tokens),
            reasoning_tokens: add(self.reasoning_tokens, other.reasoning_tokens),
            image_tokens: add(self.image_tokens, other.image_tokens),
            units: self.units.plus(other.units),
        }
    }

    /// Returns `true` if both input and output are known.
    pub fn is_known(&self) -> bool {
        self.prompt_tokens.is_some() && self.completion_tokens.is_some()
    }
}

/// A count from a string or a fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn lenient_count(value: &str) -> Option<u64> {
    let value = value.trim_matches('"').trim();
    let number: f64 = value.parse().ok()?;
    (number.is_finite() && number >= 0.0).then(|| number.ceil() as u64)
}

/// The numbers in one object: the usage itself, or its details.
struct Counts<'a> {
    usage: Usage,
    total: Option<u64>,
    /// The objects with details.
    details: [Option<&'a str>; 5],
    /// `true` if the input excludes the tokens read from and written to the cache, as in Anthropic's own format.
    cache_apart: bool,
}

impl Counts<'_> {
    fn read(text: &str) -> Option<Counts<'_>> {
        let values = members::pick(text.as_bytes(), NAMES).ok()?.map(|member| Some(member?.value));
        let [_, _, _, _, _, prompt_details, input_details, completion_details, output_details, ..] = values;
        let count = |value: Option<&str>| Usage::count(value?);
        let [prompt, input, completion, output, total, _, _, _, _, cached, hit, cache_read, ..] =
            values.map(count);
        let [
            ..,
            written,
            creation,
            reasoning,
            thinking,
            image_tokens,
            _,
            for_minutes,
            for_an_hour,
            prompt_n,
            predicted_n,
            cache_n,
        ] = values.map(count);
        let [.., cache_creation, _, _, _, _, _] = values;
        let by_lifetime =
            for_minutes.or(for_an_hour).map(|_| for_minutes.unwrap_or(0) + for_an_hour.unwrap_or(0));
        Some(Counts {
            usage: Usage {
                prompt_tokens: prompt.max(input).or(prompt_n),
                cached_tokens: cached.max(hit).max(cache_read).max(cache_n),
                cache_write_tokens: written.max(creation).max(by_lifetime),
                cache_write_1h_tokens: for_an_hour,
                completion_tokens: completion.max(output).or(predicted_n),
                reasoning_tokens: reasoning.max(thinking),
                image_tokens,
                units: Units::default(),
            },
            total,
            details: [prompt_details, input_details, completion_details, output_details, cache_creation],
            cache_apart: prompt.is_none()
                && input_details.is_none()
                && (cache_read.or(creation).is_some()
                    || cache_creation.is_some()
                    || (input.is_none() && prompt_n.is_some())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Prompt, cached, cache-write, completion, reasoning, image.
    fn counts(text: &str) -> Option<[Option<u64>; 6]> {
        let usage = Usage::read(text)?;
        Some([
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.completion_tokens,
            usage.reasoning_tokens,
            usage.image_tokens,
        ])
    }

    #[test]
    fn reads_the_usage_of_every_provider() {
        let n = None;
        for (text, expected) in [
            (r#"{"prompt_tokens":3,"completion_tokens":5,"x":1}"#, [Some(3), n, n, Some(5), n, n]),
            (r#"{"prompt_tokens":3,"total_tokens":3}"#, [Some(3), n, n, n, n, n]),
            ("{}", [n; 6]),
            // OpenAI and OpenRouter.
            (
                r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"cost":0.95,"prompt_tokens_details":
                {"cached_tokens":1920,"cache_write_tokens":7,"audio_tokens":0,"image_tokens":11},
                "completion_tokens_details":{"reasoning_tokens":250,"image_tokens":20}}"#,
                [Some(2006), Some(1920), Some(7), Some(300), Some(250), Some(31)],
            ),
            // DeepSeek.
            (
                r#"{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_cache_hit_tokens":64,
                "prompt_cache_miss_tokens":36,"completion_tokens_details":{"reasoning_tokens":4}}"#,
                [Some(100), Some(64), n, Some(5), Some(4), n],
            ),
            // Anthropic's names beside OpenAI's; the input includes the cache.
            (
                r#"{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"cache_read_input_tokens":60,
                "cache_creation_input_tokens":30,"prompt_tokens_details":{"cached_tokens":0}}"#,
                [Some(100), Some(60), Some(30), Some(5), n, n],
            ),
            // Anthropic's own format, where the input excludes the cache.
            (
                r#"{"input_tokens":100,"output_tokens":5,"cache_read_input_tokens":60,"cache_creation_input_tokens":30,
                "output_tokens_details":{"thinking_tokens":4}}"#,
                [Some(190), Some(60), Some(30), Some(5), Some(4), n],
            ),
            // The same with both lifetimes of the cache, and with the tokens of the reasoning.
            (
                r#"{"input_tokens":100,"cache_creation_input_tokens":30,"cache_read_input_tokens":60,
                "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":5,
                "output_tokens_details":{"thinking_tokens":4},"service_tier":"standard"}"#,
                [Some(190), Some(60), Some(30), Some(5), Some(4), n],
            ),
            (
                r#"{"input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}"#,
                [Some(130), n, Some(30), n, n, n],
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,"cache_read_input_tokens":100}"#,
                [Some(110), Some(100), n, Some(5), n, n],
            ),
            // OpenAI's newer names.
            (
                r#"{"input_tokens":100,"output_tokens":5,"input_tokens_details":{"cached_tokens":60},
                "output_tokens_details":{"reasoning_tokens":2}}"#,
                [Some(100), Some(60), n, Some(5), Some(2), n],
            ),
            // Moonshot.
            (
                r#"{"prompt_tokens":100,"completion_tokens":5,"cached_tokens":60}"#,
                [Some(100), Some(60), n, Some(5), n, n],
            ),
            // xAI.
            (
                r#"{"prompt_tokens":10120,"completion_tokens":1499,"total_tokens":14428,
                "prompt_tokens_details":{"cached_tokens":128},"completion_tokens_details":{"reasoning_tokens":2809}}"#,
                [Some(10120), Some(128), n, Some(4308), Some(2809), n],
            ),
            // Gemini, which does not report the reasoning; nor the output, if it is only reasoning.
            (
                r#"{"prompt_tokens":20,"completion_tokens":198,"total_tokens":623}"#,
                [Some(20), n, n, Some(603), n, n],
            ),
            (r#"{"prompt_tokens":21,"total_tokens":81}"#, [Some(21), n, n, Some(60), n, n]),
            // Both families of names, one of them with zeros.
            (
                r#"{"prompt_tokens":0,"completion_tokens":0,"input_tokens":7,"output_tokens":8}"#,
                [Some(7), n, n, Some(8), n, n],
            ),
            // llama.cpp's timings.
            (
                r#"{"cache_n":30,"prompt_n":12,"prompt_ms":3.5,"predicted_n":8,"predicted_per_second":55.5}"#,
                [Some(42), Some(30), n, Some(8), n, n],
            ),
        ] {
            assert_eq!(counts(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn impossible_numbers_count_as_missing() {
        for text in ["null", "7", "[]", "\"odd\"", "", "{", r#"{"prompt_tokens":1,"prompt_tokens":2}"#] {
            assert_eq!(counts(text), None, "{text}");
        }
        for number in ["-1", "\"\"", "\"x\"", "null", "[]", "{}", "1099511627777", "99999999999999999999999"]
        {
            let text = format!(
                r#"{{"prompt_tokens":{number},"completion_tokens":{number},"total_tokens":{number},"cached_tokens":{number},
                "prompt_tokens_details":{number},"completion_tokens_details":{{"reasoning_tokens":{number}}}}}"#
            );
            assert_eq!(counts(&text), Some([None; 6]), "{text}");
        }
        for (number, tokens) in [("900.0", 900), ("37.25", 38), ("1e3", 1000), ("\"3\"", 3), ("\" 3.5 \"", 4)]
        {
            assert_eq!(Usage::count(number), Some(tokens), "{number}");
        }
        assert!(!Usage::read(r#"{"prompt_tokens":1}"#).unwrap().is_known());
        assert!(Usage::read(r#"{"prompt_tokens":1,"completion_tokens":0}"#).unwrap().is_known());
    }

    #[test]
    fn the_part_of_the_cache_that_is_written_for_an_hour_is_known() {
        for (text, hour) in [
            (
                r#"{"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}"#,
                Some(20),
            ),
            (r#"{"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":0}}"#, Some(0)),
            (r#"{"cache_creation_input_tokens":30,"cache_creation":null}"#, None),
        ] {
            assert_eq!(Usage::read(text).unwrap().cache_write_1h_tokens, hour, "{text}");
        }
    }

    #[test]
    fn the_larger_of_two_reports_counts() {
        let usage = |text| Usage::read(text).unwrap();
        let real = usage(r#"{"prompt_tokens":9,"completion_tokens":12,"cached_tokens":3}"#);
        for later in [r"{}", r#"{"prompt_tokens":0,"completion_tokens":0}"#, r#"{"prompt_tokens":4}"#] {
            assert_eq!(real.larger(usage(later)), real, "{later}");
            assert_eq!(usage(later).larger(real), real, "{later}");
        }
    }

    proptest! {
        /// No numbers overflow, and the cached part of the input never exceeds the input.
        #[test]
        fn any_numbers_are_read(numbers in proptest::collection::vec(proptest::option::of(0u64..=MOST), 23)) {
            let members: Vec<String> = NAMES
                .iter()
                .zip(numbers)
                .filter(|(name, _)| !name.ends_with("details") && **name != "cache_creation")
                .filter_map(|(name, number)| Some(format!("\"{name}\":{}", number?)))
                .collect();
            let members = members.join(",");
            let comma = if members.is_empty() { "" } else { "," };
            let text = format!("{{{members}{comma}\"prompt_tokens_details\":{{{members}}},\"output_tokens_details\":{{{members}}}}}");
            let usage = Usage::read(&text).unwrap();
            let cache = usage.cached_tokens.unwrap_or(0) + usage.cache_write_tokens.unwrap_or(0);
            prop_assert!(usage.prompt_tokens.is_none_or(|prompt| prompt >= cache), "{usage:?}");
        }
    }
}
