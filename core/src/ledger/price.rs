//! The cost of a call, from its usage and the prices of its model.
//!
//! [`super::estimate`] computes the cost that a call may have before it is sent.

use crate::catalog::Price;
use crate::unit::{Unit, Units};
use crate::usage::Usage;

/// The number of tokens to which prices refer.
pub(super) const TOKENS_OF_PRICE: u128 = 1_000_000;

/// The name of a model without that of its maker: `openai/gpt-6-sol`, `openai.gpt-6-sol`.
fn name(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    name.strip_prefix("openai.").unwrap_or(name)
}

/// Returns `true` if a model bills each call or each search besides its tokens. Such a price is not in the catalogue.
pub fn has_fees(provider: &str, model: &str) -> bool {
    let name = name(model);
    provider == "perplexity"
        || name.starts_with("sonar")
        || name.starts_with("compound")
        || name.contains("-search")
}

/// The cost of the units that are billed in place of tokens, in micro-USD: the exact sum, rounded up once. `None` unless
/// the quantity and the price of such a unit are known.
pub fn cost_of_units(quantities: &Units, prices: &Units) -> Option<u64> {
    let known = |unit: &Unit| Some(u128::from(quantities.get(*unit)?) * u128::from(prices.get(*unit)?));
    let sum = Unit::WHOLE.iter().filter_map(known).reduce(u128::saturating_add)?;
    Some(whole(sum))
}

/// The cost of a usage, in micro-USD: the exact sum, rounded up once. `None` if the tokens are not known, or if a price
/// that is needed is not known. The price of a kind of token that was not used is not needed.
///
/// A usage without known tokens, or at a model whose tokens have no price, is charged by its other units, if there are
/// any ([`cost_of_units`]). Tokens of audio and of images cost as much as other tokens if they have no price of their own.
///
/// Tokens read from the cache or written to it, and tokens of the reasoning, cost as much as other tokens if they have no
/// price of their own. Those written for an hour cost more than those written for five minutes: if only the latter have
/// a price, the cost is not known.
pub fn cost(usage: &Usage, price: &Price) -> Option<u64> {
    let in_units = || cost_of_units(&usage.units, &price.units);
    if !has_tokens(price)
        && let Some(cost) = in_units()
    {
        return Some(cost);
    }
    let (Some(prompt), Some(completion)) = (usage.prompt_tokens, usage.completion_tokens) else {
        return in_units();
    };
    let media = Media::of(usage, price, prompt, completion);
    let (prompt, completion) = (prompt - media.input, completion - media.output);
    let cached = usage.cached_tokens.unwrap_or(0).min(prompt);
    let written = usage.cache_write_tokens.unwrap_or(0).min(prompt - cached);
    let written_1h = usage.cache_write_1h_tokens.unwrap_or(0).min(written);
    let fresh = prompt - cached - written;
    let price_1h = price.cache_write_1h.or(if price.cache_write.is_none() { price.input } else { None });
    let reasoning = usage.reasoning_tokens.unwrap_or(0).min(completion);
    let parts = [
        (fresh, price.input),
        (cached, price.cached_input.or(price.input)),
        (written - written_1h, price.cache_write.or(price.input)),
        (written_1h, price_1h),
        (completion - reasoning, price.output),
        (reasoning, price.reasoning_output.or(price.output)),
    ];
    let mut sum = 0_u128;
    for (tokens, price) in parts.into_iter().chain(media.parts) {
        if tokens > 0 {
            sum = sum.saturating_add(u128::from(tokens) * u128::from(price?));
        }
    }
    Some(whole(sum))
}

/// Returns `true` if tokens of any kind have a price.
pub(super) fn has_tokens(price: &Price) -> bool {
    let is_kind = |(unit, _): (Unit, u64)| !Unit::WHOLE.contains(&unit);
    price.input.or(price.output).is_some() || price.units.iter().any(is_kind)
}

/// The tokens of audio and images in a usage.
struct Media {
    /// Tokens of the input.
    input: u64,
    /// Tokens of the output.
    output: u64,
    /// The tokens of each kind, and their price.
    parts: [(u64, Option<u64>); 4],
}

impl Media {
    fn of(usage: &Usage, price: &Price, prompt: u64, completion: u64) -> Media {
        let tokens = |unit: Unit, most: u64| usage.units.get(unit).unwrap_or(0).min(most);
        let audio_in = tokens(Unit::AudioInput, prompt);
        let image_in = tokens(Unit::ImageInput, prompt - audio_in);
        let audio_out = tokens(Unit::AudioOutput, completion);
        let image_out = tokens(Unit::ImageOutput, completion - audio_out);
        let own = |unit: Unit, usual: Option<u64>| price.units.get(unit).or(usual);
        Media {
            input: audio_in + image_in,
            output: audio_out + image_out,
            parts: [
                (audio_in, own(Unit::AudioInput, price.input)),
                (image_in, own(Unit::ImageInput, price.input)),
                (audio_out, own(Unit::AudioOutput, price.output)),
                (image_out, own(Unit::ImageOutput, price.output)),
            ],
        }
    }
}

/// A sum of tokens times prices, rounded up to a whole micro-USD.
pub(super) fn whole(sum: u128) -> u64 {
    u64::try_from(sum.div_ceil(TOKENS_OF_PRICE)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::facts;
    use proptest::prelude::*;

    fn usage(prompt: u64, cached: u64, written: u64, completion: u64) -> Usage {
        Usage {
            prompt_tokens: Some(prompt),
            cached_tokens: Some(cached),
            cache_write_tokens: Some(written),
            completion_tokens: Some(completion),
            ..Usage::default()
        }
    }

    fn price(input: u64, cached: Option<u64>, written: Option<u64>, output: u64) -> Price {
        Price {
            input: Some(input),
            output: Some(output),
            cached_input: cached,
            cache_write: written,
            ..Price::default()
        }
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let all = price(2_000_000, Some(200_000), Some(2_500_000), 8_000_000);
        for (used, price, micro_usd) in [
            (usage(1000, 0, 0, 100), all, 2000 + 800),
            (usage(1000, 600, 100, 100), all, 600 + 120 + 250 + 800),
            (usage(1000, 600, 100, 100), price(2_000_000, None, None, 8_000_000), 2000 + 800),
            // More cached tokens than input tokens: all of the input is cached.
            (usage(1000, 5000, 900, 0), all, 200),
            (usage(1000, 600, 900, 0), all, 120 + 1000),
            (usage(0, 0, 0, 0), all, 0),
            // Rounded once and up.
            (usage(1, 0, 0, 1), price(1, None, None, 1), 1),
            (usage(3, 1, 1, 1), price(250_000, None, None, 250_000), 1),
            (usage(4, 1, 1, 1), price(250_000, None, None, 250_000), 2),
            (usage(5, 0, 0, 5), price(0, None, None, 0), 0),
        ] {
            assert_eq!(cost(&used, &price), Some(micro_usd), "{used:?} {price:?}");
        }
    }

    /// Anthropic's prices of Claude Opus 5.5, with usage as Anthropic reports it.
    #[test]
    fn the_usage_of_messages_is_priced_to_the_micro_usd() {
        let price = facts("anthropic", "claude-opus-5-5").unwrap().price;
        assert_eq!(
            price,
            Price {
                input: Some(4_000_000),
                output: Some(20_000_000),
                cached_input: Some(200_000),
                cache_write: Some(5_000_000),
                cache_write_1h: Some(8_000_000),
                reasoning_output: None,
                units: Units::default(),
            }
        );
        for (usage, micro_usd) in [
            (r#"{"input_tokens":11,"output_tokens":7}"#, 44 + 140),
            // Reasoning is output.
            (
                r#"{"input_tokens":11,"output_tokens":70,"output_tokens_details":{"thinking_tokens":60}}"#,
                44 + 1_400,
            ),
            // 3 tokens read at 0.2 micro-USD are rounded up to one.
            (
                r#"{"input_tokens":0,"cache_read_input_tokens":3,"cache_creation_input_tokens":0,"output_tokens":0}"#,
                1,
            ),
            (
                r#"{"input_tokens":10,"cache_read_input_tokens":1000,"cache_creation_input_tokens":300,"output_tokens":1}"#,
                40 + 200 + 1_500 + 20,
            ),
            (
                r#"{"input_tokens":10,"cache_read_input_tokens":1000,"cache_creation_input_tokens":300,"output_tokens":1,
                "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}}"#,
                40 + 200 + 500 + 1_600 + 20,
            ),
            (
                r#"{"input_tokens":10,"cache_creation_input_tokens":300,"output_tokens":1,
                "cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":300}}"#,
                40 + 2_400 + 20,
            ),
        ] {
            assert_eq!(cost(&Usage::read(usage).unwrap(), &price), Some(micro_usd), "{usage}");
        }
        let hour = Usage { cache_write_1h_tokens: Some(1), ..usage(1, 0, 1, 0) };
        assert_eq!(cost(&hour, &Price { cache_write_1h: None, ..price }), None);
        let plain = Price { cache_write_1h: None, cache_write: None, ..price };
        assert_eq!(cost(&hour, &plain), Some(4));
    }

    #[test]
    fn reasoning_may_have_a_price_of_its_own() {
        let price = Price { reasoning_output: Some(4_000_000), ..price(0, None, None, 1_200_000) };
        let with = |reasoning| Usage { reasoning_tokens: reasoning, ..usage(5, 0, 0, 10) };
        for (reasoning, micro_usd) in [(None, 12), (Some(0), 12), (Some(4), 7 + 16), (Some(90), 40)] {
            // 6 tokens at 1.2 micro-USD are 7.2, rounded up with the rest.
            let expected = if reasoning == Some(4) { micro_usd + 1 } else { micro_usd };
            assert_eq!(cost(&with(reasoning), &price), Some(expected), "{reasoning:?}");
        }
    }

    #[test]
    fn units_are_billed_in_place_of_tokens_that_have_no_price_or_are_not_known() {
        let unit = |unit, amount| Units::of(&[(unit, amount)]);
        let none = Usage::default();
        let tokens = usage(100, 0, 0, 10);
        let second = Price { units: unit(Unit::Second, 100_000_000), ..Price::default() };
        let both = Price { input: Some(1_000_000), output: Some(2_000_000), ..second };
        for (used, price, expected) in [
            // A cent for a hundred seconds.
            (Usage { units: unit(Unit::Second, 100), ..none }, second, Some(10_000)),
            (Usage { units: unit(Unit::Second, 100), ..tokens }, second, Some(10_000)),
            (Usage { units: unit(Unit::Second, 0), ..none }, second, Some(0)),
            // Reported tokens that have a price are what the provider bills.
            (Usage { units: unit(Unit::Second, 100), ..tokens }, both, Some(120)),
            (Usage { units: unit(Unit::Second, 100), ..none }, both, Some(10_000)),
            // Another unit.
            (Usage { units: unit(Unit::Image, 100), ..none }, second, None),
            (Usage { units: unit(Unit::Image, 100), ..tokens }, both, Some(120)),
            (none, second, None),
        ] {
            assert_eq!(cost(&used, &price), expected, "{used:?}");
        }
    }

    #[test]
    fn tokens_of_media_have_their_own_prices_or_those_of_all_tokens() {
        let units = Units::of(&[(Unit::ImageInput, 60), (Unit::ImageOutput, 1000)]);
        let used = Usage { units, ..usage(100, 10, 0, 1000) };
        let rates = Units::of(&[(Unit::ImageInput, 10_000_000), (Unit::ImageOutput, 40_000_000)]);
        let image = Price { units: rates, output: None, ..price(5_000_000, Some(1_000_000), None, 0) };
        // 30 tokens of text, 10 of them cached, and 60 of images.
        assert_eq!(cost(&used, &image), Some(150 + 10 + 600 + 40_000));
        let plain = price(5_000_000, None, None, 7_000_000);
        assert_eq!(cost(&used, &plain), Some(500 + 7_000));
        // A token of text in the output has no price.
        let text = Usage { units: units.with(Unit::ImageOutput, Some(999)), ..used };
        assert_eq!(cost(&text, &image), None);
        // More tokens of images than tokens.
        let more = Usage { units: units.plus(units), ..used };
        assert_eq!(cost(&more, &image), Some(1_000 + 40_000));
    }

    #[test]
    fn an_unknown_cost_is_not_zero() {
        let all = price(1, Some(1), Some(1), 1);
        let known = usage(10, 10, 0, 5);
        assert_eq!(cost(&Usage::default(), &all), None);
        assert_eq!(cost(&Usage { prompt_tokens: None, ..known }, &all), None);
        assert_eq!(cost(&Usage { completion_tokens: None, ..known }, &all), None);
        assert_eq!(cost(&known, &Price { output: None, ..all }), None);
        assert_eq!(cost(&usage(10, 9, 0, 5), &Price { input: None, ..all }), None);
        assert_eq!(cost(&usage(10, 0, 10, 5), &Price { input: None, cache_write: None, ..all }), None);
        // These prices are not needed.
        assert_eq!(cost(&known, &Price { input: None, ..all }), Some(1));
        assert_eq!(cost(&usage(10, 0, 0, 0), &Price { output: None, ..all }), Some(1));
        let plain = Usage { cached_tokens: None, cache_write_tokens: None, ..known };
        assert_eq!(cost(&plain, &all), Some(1), "no cache is reported");
    }

    #[test]
    fn large_numbers_do_not_overflow() {
        let most = u64::MAX;
        assert_eq!(cost(&usage(most, most, most, most), &price(most, Some(most), None, most)), Some(most));
        assert_eq!(cost(&usage(most, 7, 7, most), &price(most, Some(most), Some(most), most)), Some(most));
    }

    prop_compose! {
        fn any_usage()(prompt in 0u64..1 << 40, cached in 0u64..1 << 40, written in 0u64..1 << 40, completion in 0u64..1 << 40)
            -> Usage { usage(prompt, cached, written, completion) }
    }

    prop_compose! {
        fn any_price()(input in 0u64..200_000_000, cached in proptest::option::of(0u64..200_000_000),
            written in proptest::option::of(0u64..200_000_000), output in 0u64..200_000_000)
            -> Price { price(input, cached, written, output) }
    }

    proptest! {
        /// The sum of the parts, each rounded up, equals the whole up to one micro-USD for each part.
        #[test]
        fn the_parts_add_up_to_the_whole(used in any_usage(), price in any_price()) {
            let of = |used: Usage| cost(&used, &price).unwrap();
            let prompt = used.prompt_tokens.unwrap();
            let cached = used.cached_tokens.unwrap().min(prompt);
            let written = used.cache_write_tokens.unwrap().min(prompt - cached);
            let parts = of(usage(prompt - cached - written, 0, 0, 0))
                + of(usage(cached, cached, 0, 0))
                + of(usage(written, 0, written, 0))
                + of(usage(0, 0, 0, used.completion_tokens.unwrap()));
            let whole = of(used);
            prop_assert!(whole <= parts && parts < whole + 4, "{whole} {parts}");
        }

        #[test]
        fn more_tokens_or_higher_prices_never_cost_less(used in any_usage(), price in any_price(), more in 0u64..1000) {
            let before = cost(&used, &price).unwrap();
            let up = |number: Option<u64>| number.map(|number| number + more);
            let longer = Usage { completion_tokens: up(used.completion_tokens), ..used };
            prop_assert!(cost(&longer, &price).unwrap() >= before);
            let fresh = Usage { cached_tokens: Some(0), cache_write_tokens: Some(0), ..used };
            let before_fresh = cost(&fresh, &price).unwrap();
            let larger = Usage { prompt_tokens: up(used.prompt_tokens), ..fresh };
            prop_assert!(cost(&larger, &price).unwrap() >= before_fresh);
            let dearer = Price {
                input: up(price.input),
                output: up(price.output),
                cached_input: up(price.cached_input),
                cache_write: up(price.cache_write),
                ..price
            };
            prop_assert!(cost(&used, &dearer).unwrap() >= before);
        }

        #[test]
        fn the_cost_is_at_most_that_of_all_tokens_at_the_highest_price(used in any_usage(), price in any_price()) {
            let dearest = [price.input, price.cached_input, price.cache_write, price.output].into_iter().max().flatten();
            let tokens = u128::from(used.prompt_tokens.unwrap() + used.completion_tokens.unwrap());
            prop_assert!(cost(&used, &price).unwrap() <= whole(tokens * u128::from(dearest.unwrap())));
        }

        #[test]
        fn any_numbers_are_priced(
            numbers: [Option<u64>; 6],
            prices: [Option<u64>; 6],
            amounts: [[Option<u64>; 8]; 2],
        ) {
            let [quantities, rates] = amounts.map(|amounts| {
                let pairs = Unit::ALL.into_iter().zip(amounts);
                pairs.fold(Units::default(), |units, (unit, amount)| units.with(unit, amount))
            });
            let [prompt_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens, completion_tokens, reasoning_tokens] =
                numbers;
            let [input, output, cached_input, cache_write, cache_write_1h, reasoning_output] = prices;
            let used = Usage {
                prompt_tokens,
                cached_tokens,
                cache_write_tokens,
                cache_write_1h_tokens,
                completion_tokens,
                reasoning_tokens,
                image_tokens: None,
                units: quantities,
            };
            let price = Price { input, output, cached_input, cache_write, cache_write_1h, reasoning_output, units: rates };
            let _ = cost(&used, &price);
        }
    }
}
