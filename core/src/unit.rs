//! The units of a bill other than plain tokens: images, characters, seconds of audio, searches, and the tokens of audio and
//! images, which have prices of their own.
//!
//! A list has an amount for some of the units, a quantity or a price. What a list means and how a bill follows from two of
//! them is the matter of `ledger::price`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A unit of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A generated image.
    Image,
    /// A character (a Unicode scalar value) of a text to be spoken.
    Character,
    /// A second of audio, rounded up.
    Second,
    /// A search, as rerankers count them: a query over at most a hundred documents.
    Search,
    /// A token of audio in the input.
    AudioInput,
    /// A token of audio in the output.
    AudioOutput,
    /// A token of an image in the input.
    ImageInput,
    /// A token of an image in the output.
    ImageOutput,
}

impl Unit {
    /// All units.
    pub const ALL: [Unit; 8] = [
        Unit::Image,
        Unit::Character,
        Unit::Second,
        Unit::Search,
        Unit::AudioInput,
        Unit::AudioOutput,
        Unit::ImageInput,
        Unit::ImageOutput,
    ];
    /// The units that are billed in place of tokens; the others are kinds of tokens.
    pub const WHOLE: [Unit; 4] = [Unit::Image, Unit::Character, Unit::Second, Unit::Search];

    /// The name in configuration, receipts and `GET /v1/models`.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Image => "image",
            Unit::Character => "character",
            Unit::Second => "second",
            Unit::Search => "search",
            Unit::AudioInput => "audio_input",
            Unit::AudioOutput => "audio_output",
            Unit::ImageInput => "image_input",
            Unit::ImageOutput => "image_output",
        }
    }
}

/// An amount for some of the units. As quantities, whole units; as prices, micro-USD per million units.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Units([u64; Unit::ALL.len()]);

/// The amount that is not known.
const UNKNOWN: u64 = u64::MAX;

impl Default for Units {
    fn default() -> Units {
        Units::NONE
    }
}

impl std::fmt::Debug for Units {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_map().entries(self.iter().map(|(unit, amount)| (unit.name(), amount))).finish()
    }
}

impl Units {
    /// The list without any amount.
    pub const NONE: Units = Units([UNKNOWN; Unit::ALL.len()]);

    /// The amount of one unit; `None` if it is not known.
    pub fn get(&self, unit: Unit) -> Option<u64> {
        self.0.get(unit as usize).copied().filter(|amount| *amount != UNKNOWN)
    }

    /// The list with another amount of a unit. `None` removes it.
    #[must_use]
    pub fn with(mut self, unit: Unit, amount: Option<u64>) -> Units {
        if let Some(place) = self.0.get_mut(unit as usize) {
            *place = amount.map_or(UNKNOWN, |amount| amount.min(UNKNOWN - 1));
        }
        self
    }

    /// The list of some amounts.
    pub fn of(amounts: &[(Unit, u64)]) -> Units {
        amounts.iter().fold(Units::default(), |units, (unit, amount)| units.with(*unit, Some(*amount)))
    }

    /// The known amounts.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        Unit::ALL.into_iter().filter_map(|unit| Some((unit, self.get(unit)?)))
    }

    /// Returns `true` if no amount is known.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns `true` if the amount of a unit is known that is billed in place of tokens.
    pub fn has_whole(&self) -> bool {
        Unit::WHOLE.iter().any(|unit| self.get(*unit).is_some())
    }

    /// The list in which unknown amounts are those of another one.
    #[must_use]
    pub fn or(self, other: Units) -> Units {
        self.joined(other, |one, _| one)
    }

    /// The amounts of units that another list has too.
    #[must_use]
    pub fn only(self, other: Units) -> Units {
        self.iter()
            .fold(Units::default(), |units, (unit, amount)| units.with(unit, other.get(unit).map(|_| amount)))
    }

    /// The sums of the amounts of two lists.
    #[must_use]
    pub fn plus(self, other: Units) -> Units {
        self.joined(other, u64::saturating_add)
    }

    /// The larger amounts of two lists.
    #[must_use]
    pub fn max(self, other: Units) -> Units {
        self.joined(other, u64::max)
    }

    /// The amounts of two lists; `both` joins amounts that both know.
    fn joined(self, other: Units, both: impl Fn(u64, u64) -> u64) -> Units {
        Unit::ALL.into_iter().fold(self, |units, unit| {
            let amount = match (self.get(unit), other.get(unit)) {
                (Some(one), Some(other)) => Some(both(one, other)),
                (one, other) => one.or(other),
            };
            units.with(unit, amount)
        })
    }
}

/// US dollars for one unit, held as micro-USD per million units. At most twelve decimals count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitPrice(pub u64);

impl<'de> Deserialize<'de> for UnitPrice {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a number from 0 to 2^52"
    )]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let micro = (f64::deserialize(deserializer)? * 1e12).round();
        if (0.0..=4e15).contains(&micro) {
            Ok(UnitPrice(micro as u64))
        } else {
            Err(D::Error::custom("must be US dollars for one unit, from 0 to 4000"))
        }
    }
}

impl Serialize for UnitPrice {
    #[expect(clippy::cast_precision_loss, reason = "prices are at most 4e15")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1e12)
    }
}

impl UnitPrice {
    /// The price in US dollars, as an exact decimal: `0.00004`.
    pub fn usd(self) -> String {
        const PICO: u64 = 1_000_000_000_000;
        let text = format!("{}.{:012}", self.0 / PICO, self.0 % PICO);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_its_place_and_its_name() {
        for (index, unit) in Unit::ALL.into_iter().enumerate() {
            assert_eq!(unit as usize, index);
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.name());
            let one = Units::of(&[(unit, 7)]);
            assert_eq!((one.get(unit), one.iter().count()), (Some(7), 1));
            assert_eq!(one.has_whole(), Unit::WHOLE.contains(&unit));
            assert!(one.with(unit, None).is_empty());
        }
    }

    #[test]
    fn lists_are_joined_unit_by_unit() {
        let one = Units::of(&[(Unit::Image, 2), (Unit::Second, 0)]);
        let other = Units::of(&[(Unit::Image, 3), (Unit::Search, 1)]);
        let rest = [(Unit::Second, 0), (Unit::Search, 1)];
        for (joined, images) in [(one.or(other), 2), (one.plus(other), 5), (one.max(other), 3)] {
            assert_eq!(joined, Units::of(&[&rest[..], &[(Unit::Image, images)]].concat()));
        }
        assert_eq!(one.only(other), Units::of(&[(Unit::Image, 2)]));
        assert_eq!(Units::of(&[(Unit::Image, u64::MAX)]).plus(one).get(Unit::Image), Some(u64::MAX - 1));
    }

    #[test]
    fn prices_are_exact_decimals() {
        for (text, micro, usd) in [
            ("0.04", 40_000_000_000, "0.04"),
            ("0.00001111", 11_110_000, "0.00001111"),
            ("0", 0, "0"),
            ("2", 2_000_000_000_000, "2"),
            ("0.000000000001", 1, "0.000000000001"),
        ] {
            let price: UnitPrice = serde_json::from_str(text).unwrap();
            assert_eq!((price, price.usd().as_str()), (UnitPrice(micro), usd));
            let again: UnitPrice = serde_json::from_str(&serde_json::to_string(&price).unwrap()).unwrap();
            assert_eq!(again, price);
        }
        for text in ["-1", "4001", "1e99", "\"1\""] {
            assert!(serde_json::from_str::<UnitPrice>(text).is_err(), "{text}");
        }
    }
}
