//! Amounts of money: whole millionths of a US dollar.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// US dollars, written as a decimal number and held as whole millionths. More than six decimals are rejected, not
/// rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// Converts US dollars.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number of at most 2^52"
    )]
    pub fn of_usd(usd: f64) -> Result<MicroUsd, &'static str> {
        let micro = (usd * 1e6).round();
        if !(0.0..=4e15).contains(&micro) {
            return Err("must be US dollars, 0 or more");
        }
        if (micro / 1e6 - usd).abs() > 1e-9 {
            return Err("must have at most six decimals");
        }
        Ok(MicroUsd(micro as u64))
    }
}

impl<'de> Deserialize<'de> for MicroUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        MicroUsd::of_usd(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for MicroUsd {
    #[expect(clippy::cast_precision_loss, reason = "prices are far below 2^52 micro-USD")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1e6)
    }
}

/// Formats micro-USD as US dollars, exactly: `0.000123`, `5`.
pub fn usd(micro: u64) -> String {
    let (whole, fraction) = (micro / 1_000_000, micro % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{fraction:06}");
    text.trim_end_matches('0').to_owned()
}
