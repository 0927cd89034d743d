//! Estimates of the usage and cost of a call before it is sent.
//!
//! Nothing is tokenised: likely amounts are based on the usual length of a token, maximum amounts on the shortest.
//! [`super::price`] computes the actual cost.

use super::price::{TOKENS_OF_PRICE, cost_of_units, has_tokens, whole};
use crate::catalog::{Facts, Price};
use crate::format::request::Size;
use crate::format::size::{BYTES_PER_TOKEN, TOKENS_PER_IMAGE};
use crate::unit::{Unit, Units};

/// The maximum size of an image, in tokens: Qwen's models read the largest images with so many.
const MOST_TOKENS_PER_IMAGE: u64 = 16_384;
/// A part of a model's id, and the maximum size of an image for such models: `OpenAI` multiplies the tokens of an image
/// by 33 for GPT-4o mini.
const DEAR_IMAGES: (&str, u64) = ("4o-mini", 50_000);
/// The maximum that a provider may add around the messages, in tokens: gpt-oss has a system message of about a hundred.
const FRAME_TOKENS: usize = 256;
/// The maximum that a provider may add for tools, in tokens: instructions on calling them. Anthropic adds up to 530.
const TOOL_FRAME_TOKENS: usize = 1_024;
/// The smallest output that is worth paying for, in tokens of each choice, if the hold cannot pay for all of the
/// requested output.
const LEAST_OUTPUT: u64 = 256;
/// The assumed maximum output if neither the caller nor the catalogue has a limit, in tokens.
const UNLIMITED_OUTPUT: u64 = 16_384;

/// The estimated usage of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// The likely input tokens.
    pub prompt_tokens: u64,
    /// The maximum input tokens, images apart; of [`Estimate::at`] with them.
    pub max_prompt_tokens: u64,
    /// The images in the input.
    pub images: u64,
    /// The requested maximum output, in tokens of all choices together; `None` if the request has no limit.
    pub max_output: Option<u64>,
    /// The number of choices, each with an output of its own; the input counts once. 0 if the response has no output
    /// tokens.
    pub choices: u64,
    /// The maximum of other units.
    pub units: Units,
    /// The likely amounts of those of these units that do not follow from the request.
    pub guesses: Units,
    /// `true` if the output cannot be limited.
    pub is_fixed: bool,
    /// The likely output, in tokens of all choices; 0 if it does not follow from the request.
    pub likely_output: u64,
}

impl Estimate {
    /// The estimate for a request of this size.
    pub fn of(size: &Size) -> Estimate {
        let text = size.text + size.schema;
        let tools = if size.tools { TOOL_FRAME_TOKENS } else { 0 };
        Estimate {
            prompt_tokens: (text / BYTES_PER_TOKEN + size.images * TOKENS_PER_IMAGE) as u64
                + size.audio_tokens,
            // A token has at least one byte. Any field may be a part of the prompt: `documents`, for example.
            max_prompt_tokens: ((text + size.rest + FRAME_TOKENS + tools) as u64)
                .saturating_add(size.most_audio_tokens),
            images: size.images as u64,
            max_output: size.max_output.map(|tokens| tokens.saturating_mul(size.choices)),
            choices: size.choices,
            units: size.units,
            guesses: size.guesses,
            is_fixed: size.is_fixed,
            likely_output: size.likely_output,
        }
    }

    /// The least output of each choice that is worth paying for, in tokens, if the hold cannot pay for `output`.
    pub fn least_output(&self, output: u64) -> u64 {
        if self.is_fixed { output } else { output.min(LEAST_OUTPUT) }
    }

    /// The estimate for one model: images count as the model counts them.
    #[must_use]
    pub fn at(self, model: &str) -> Estimate {
        let (part, dear) = DEAR_IMAGES;
        let each = if self.images > 0 && model.contains(part) { dear } else { MOST_TOKENS_PER_IMAGE };
        let images = self.images.saturating_mul(each);
        Estimate { max_prompt_tokens: self.max_prompt_tokens.saturating_add(images), images: 0, ..self }
    }

    /// The maximum tokens of an attempt, if each choice has at most this many output tokens.
    pub fn most_tokens(&self, output_tokens_per_choice: u64) -> u64 {
        self.max_prompt_tokens.saturating_add(output_tokens_per_choice.saturating_mul(self.choices))
    }

    /// The maximum output of each choice, in tokens, for which an attempt has at most `tokens`.
    pub fn affordable_tokens(&self, tokens: u64) -> u64 {
        tokens.saturating_sub(self.max_prompt_tokens).checked_div(self.choices).unwrap_or(u64::MAX)
    }

    /// The maximum output of each choice, in tokens: the requested limit, but not more than the model's maximum.
    pub fn output_bound(&self, facts: &Facts) -> u64 {
        let requested = self.max_output.map(|tokens| tokens / self.choices.max(1));
        let able = facts.max_output.map(u64::from);
        match (requested, able) {
            (Some(requested), Some(able)) => requested.min(able),
            (requested, able) => requested.or(able).unwrap_or(UNLIMITED_OUTPUT),
        }
    }

    /// The maximum cost of an attempt, in micro-USD, if each choice has at most this many output tokens. `None` if the
    /// price of the input or of the output is not known, and that of no other unit either. The price must be the highest
    /// that the attempt can reach: [`Facts::highest_price`].
    pub fn most(&self, output_tokens_per_choice: u64, price: &Price) -> Option<u64> {
        let in_units = cost_of_units(&self.units, &price.units);
        if in_units.is_some() && !has_tokens(price) {
            return in_units;
        }
        let in_tokens = self.sums(price).map(|(input, output)| {
            whole(input.saturating_add(output.saturating_mul(output_tokens_per_choice.into())))
        });
        // The provider decides which of the two it bills.
        in_tokens.max(in_units)
    }

    /// The maximum output of each choice, in tokens, for which an attempt costs at most `micro_usd`. `None` if a price
    /// is not known, or if the amount does not even pay for the input.
    pub fn affordable_output(&self, micro_usd: u64, price: &Price) -> Option<u64> {
        let (input, output) = self.sums(price)?;
        let left = (u128::from(micro_usd) * TOKENS_OF_PRICE).checked_sub(input)?;
        Some(left.checked_div(output).map_or(u64::MAX, |tokens| u64::try_from(tokens).unwrap_or(u64::MAX)))
    }

    /// The cost of the input, as if all of it were of the most expensive kind, and the cost of one output token of each
    /// choice; both in micro-USD times a million.
    fn sums(&self, price: &Price) -> Option<(u128, u128)> {
        let Price { input, output, cached_input, cache_write, cache_write_1h, reasoning_output, .. } = *price;
        // The price of a kind of tokens counts if all of them may be of this kind.
        let own = |units: [Unit; 2]| {
            let is_possible = |unit: &Unit| self.units.get(*unit).is_some();
            units.into_iter().filter(is_possible).filter_map(|unit| price.units.get(unit)).max()
        };
        let (media_in, media_out) =
            (own([Unit::AudioInput, Unit::ImageInput]), own([Unit::AudioOutput, Unit::ImageOutput]));
        let (input, output) = (input.or(media_in), output.or(media_out));
        let highest =
            |price: u64, others: &[Option<u64>]| others.iter().flatten().fold(price, |a, b| a.max(*b));
        let input = highest(input?, &[cached_input, cache_write, cache_write_1h, media_in]);
        let product = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        // Without output, no price for it is needed.
        let output = if self.choices == 0 {
            0
        } else {
            product(self.choices, highest(output?, &[reasoning_output, media_out]))
        };
        Some((product(self.max_prompt_tokens, input), output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::price::cost;
    use crate::usage::Usage;
    use proptest::prelude::*;

    fn estimate(rest: &str) -> Estimate {
        let body = format!(r#"{{"model":"m",{rest}}}"#);
        Estimate::of(&crate::format::read(&crate::operation::CHAT_COMPLETIONS, body.as_bytes()).unwrap().size)
    }

    #[test]
    fn estimates_the_input_from_the_size_of_the_request() {
        let bare = estimate(r#""messages":[]"#);
        // All bytes of the body count: `{"model":"m","messages":[]}`.
        let estimated = Estimate {
            prompt_tokens: 0,
            max_prompt_tokens: 27 + 256,
            images: 0,
            choices: 1,
            ..Estimate::default()
        };
        assert_eq!(bare, estimated);
        let text = estimate(&format!(r#""messages":["{}"]"#, "a".repeat(396)));
        assert_eq!((text.prompt_tokens, text.max_prompt_tokens), (100, 425 + 256));
        let all = estimate(r#""messages":[],"tools":[{}],"functions":[ ],"response_format":{"type":"x"}"#);
        assert_eq!(all.max_prompt_tokens, 27 + 13 + 16 + 31 + 256 + 1_024);
        let image = format!(
            r#""messages":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]"#,
            "A".repeat(1_000_000)
        );
        let image = estimate(&image);
        assert!((1000..1050).contains(&image.prompt_tokens), "{image:?}");
        assert!((256..256 + 120).contains(&image.max_prompt_tokens), "{image:?}");
        let tokens = |model: &str| image.at(model).max_prompt_tokens - image.max_prompt_tokens;
        assert_eq!((tokens("gpt-6-sol"), tokens("openai/gpt-4o-mini")), (16_384, 50_000));
    }

    #[test]
    fn estimates_the_output_from_the_requested_limit() {
        for (fields, max_output, choices) in [
            ("", None, 1),
            (r#","max_tokens":7"#, Some(7), 1),
            (r#","max_tokens":7,"n":3"#, Some(21), 3),
            (r#","max_completion_tokens":7,"max_tokens":9,"n":1000"#, Some(9_000), 1_000),
            (r#","max_completion_tokens":9,"max_tokens":7,"n":0"#, Some(9), 1),
            (r#","max_tokens":null,"n":null"#, None, 1),
            (r#","max_tokens":-1,"n":-1"#, None, 1),
            (r#","max_tokens":0,"n":"x""#, None, 1),
            (r#","max_tokens":"8","n":2.0"#, Some(16), 2),
            (r#","max_tokens":1e3,"n":1e300"#, Some(u64::MAX), u64::MAX),
            (r#","max_tokens":18446744073709551615,"n":2"#, Some(u64::MAX), 2),
        ] {
            let estimate = estimate(&format!(r#""messages":[]{fields}"#));
            assert_eq!((estimate.max_output, estimate.choices), (max_output, choices), "{fields}");
        }
    }

    #[test]
    fn the_output_is_bounded_by_the_smaller_limit() {
        for (requested, able, bound) in [
            (None, None, 16_384),
            (Some(30), None, 10),
            (None, Some(20), 20),
            (Some(30), Some(20), 10),
            (Some(90), Some(20), 20),
        ] {
            let estimate = Estimate {
                prompt_tokens: 0,
                max_prompt_tokens: 0,
                images: 0,
                max_output: requested,
                choices: 3,
                ..Estimate::default()
            };
            let facts = Facts { max_output: able, ..Facts::default() };
            assert_eq!(estimate.output_bound(&facts), bound, "{requested:?} {able:?}");
        }
    }

    #[test]
    fn without_output_only_the_input_is_charged() {
        let estimate = Estimate { prompt_tokens: 1, max_prompt_tokens: 100, ..Estimate::default() };
        let price = Price { input: Some(1_000_000), ..Price::default() };
        assert_eq!(estimate.most(10, &price), Some(100));
        assert_eq!(estimate.most(10, &Price::default()), None);
    }

    #[test]
    fn other_units_are_held_as_a_whole() {
        let units = Units::of(&[(Unit::Image, 2), (Unit::ImageOutput, 8_000)]);
        let estimate =
            Estimate { max_prompt_tokens: 100, choices: 2, units, is_fixed: true, ..Estimate::default() };
        assert_eq!(estimate.least_output(4_000), 4_000);
        assert_eq!(Estimate { is_fixed: false, ..estimate }.least_output(4_000), 256);
        let by_image = Price { units: Units::of(&[(Unit::Image, 40_000_000_000)]), ..Price::default() };
        assert_eq!(estimate.most(4_000, &by_image), Some(80_000));
        let by_token = Price {
            input: Some(5_000_000),
            units: Units::of(&[(Unit::ImageOutput, 40_000_000)]),
            ..Price::default()
        };
        assert_eq!(estimate.most(4_000, &by_token), Some(500 + 320_000));
        // Where both have a price, the dearer one counts.
        let both = Price { units: by_token.units.or(by_image.units), ..by_token };
        assert_eq!(estimate.most(4_000, &both), Some(320_500));
        assert_eq!(estimate.most(0, &both), Some(80_000));
        // Tokens of audio are not possible here.
        let audio = Price { units: Units::of(&[(Unit::AudioOutput, 1)]), ..by_token };
        assert_eq!(estimate.most(4_000, &audio), None);
    }

    #[test]
    fn without_a_price_there_is_no_maximum_cost() {
        let price = Price { input: Some(1_000_000), output: Some(2_000_000), ..Price::default() };
        let estimate =
            Estimate { prompt_tokens: 1, max_prompt_tokens: 100, choices: 2, ..Estimate::default() };
        assert_eq!(estimate.most(10, &price), Some(100 + 40));
        assert_eq!(estimate.most(10, &Price { cache_write: Some(1_500_000), ..price }), Some(150 + 40));
        assert_eq!(estimate.affordable_output(140, &price), Some(10));
        assert_eq!(estimate.affordable_output(143, &price), Some(10));
        assert_eq!(estimate.affordable_output(100, &price), Some(0));
        assert_eq!(estimate.affordable_output(99, &price), None);
        assert_eq!(estimate.affordable_output(100, &Price { output: Some(0), ..price }), Some(u64::MAX));
        for unknown in [Price { input: None, ..price }, Price { output: None, ..price }] {
            assert_eq!(estimate.most(10, &unknown), None);
            assert_eq!(estimate.affordable_output(u64::MAX, &unknown), None);
        }
        let most = u64::MAX;
        let huge = Estimate {
            prompt_tokens: most,
            max_prompt_tokens: most,
            images: 1,
            choices: 128,
            ..Estimate::default()
        };
        let dear = Price { input: Some(most), output: Some(most), ..Price::default() };
        assert_eq!(huge.most(most, &dear), Some(most));
        assert_eq!(huge.affordable_output(most, &dear), None);
    }

    prop_compose! {
        fn any_price()(input in 0u64..200_000_000, output in 0u64..200_000_000,
            [cached_input, cache_write, cache_write_1h, reasoning_output]
                in proptest::array::uniform4(proptest::option::of(0u64..200_000_000)))
            -> Price {
                let units = Units::default();
                Price { input: Some(input), output: Some(output), cached_input, cache_write, cache_write_1h, reasoning_output, units }
            }
    }

    proptest! {
        /// The affordable output is paid for by the amount, and one more token is not.
        #[test]
        fn the_affordable_output_is_exact(
            money in 0u64..1 << 40,
            max_prompt_tokens in 0u64..1 << 24,
            choices in 1u64..=128,
            price in any_price(),
        ) {
            let estimate = Estimate { max_prompt_tokens, choices, ..Estimate::default() };
            match estimate.affordable_output(money, &price) {
                None => prop_assert!(estimate.most(0, &price).unwrap() > money),
                Some(u64::MAX) => prop_assert_eq!(price.output.max(price.reasoning_output), Some(0)),
                Some(tokens) => {
                    prop_assert!(estimate.most(tokens, &price).unwrap() <= money);
                    prop_assert!(estimate.most(tokens + 1, &price).unwrap() > money);
                }
            }
        }

        /// No usage within the bounds costs more than the maximum.
        #[test]
        fn no_usage_costs_more_than_the_maximum(
            max_prompt_tokens in 0u64..1 << 24,
            choices in 1u64..=128,
            output in 0u64..1 << 20,
            parts: [u8; 6],
            price in any_price(),
        ) {
            let estimate = Estimate { max_prompt_tokens, choices, ..Estimate::default() };
            let part = |whole: u64, part: u8| Some(whole * u64::from(part) / 255);
            let prompt = part(max_prompt_tokens, parts[0]);
            let used = Usage {
                prompt_tokens: prompt,
                cached_tokens: part(prompt.unwrap(), parts[1]),
                cache_write_tokens: part(prompt.unwrap(), parts[2]),
                completion_tokens: part(output * choices, parts[3]),
                cache_write_1h_tokens: part(prompt.unwrap(), parts[4]),
                reasoning_tokens: part(output * choices, parts[5]),
                image_tokens: None,
                units: Units::default(),
            };
            let most = estimate.most(output, &price).unwrap();
            let is_priced = price.cache_write_1h.is_some() || price.cache_write.is_none() || parts[4] == 0;
            prop_assert!(cost(&used, &price).map_or(!is_priced, |cost| cost <= most));
        }

        #[test]
        fn any_numbers_are_bounded(numbers: [u64; 6], prices: [Option<u64>; 6]) {
            let [prompt_tokens, max_prompt_tokens, max_output, choices, money, output_tokens] = numbers;
            let estimate = Estimate { prompt_tokens, max_prompt_tokens, max_output: Some(max_output), choices, ..Estimate::default() };
            let [input, output, cached_input, cache_write, cache_write_1h, reasoning_output] = prices;
            let units = Units::default();
            let price = Price { input, output, cached_input, cache_write, cache_write_1h, reasoning_output, units };
            let _ = (estimate.most(output_tokens, &price), estimate.affordable_output(money, &price));
            let _ = estimate.output_bound(&Facts::default());
        }
    }
}
