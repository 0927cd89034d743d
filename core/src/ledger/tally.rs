//! What calls add up to, and whose they are: the rows of usage.
//!
//! [`Tally::FIELDS`] is the one definition of the sums: the columns of the database, the members of messages and the
//! rows that travel are all in its order. This module adds and names; what is told of rows is made elsewhere.

use serde_json::Value;

/// What calls add up to. All are sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that reached an upstream.
    pub requests: u64,
    /// Calls that were answered completely.
    pub successful: u64,
    /// Upstream calls.
    pub attempts: u64,
    /// Tokens of input, those of the two next included.
    pub prompt_tokens: u64,
    /// Tokens of input that came from a provider's prompt cache.
    pub cached_tokens: u64,
    /// Tokens of input that were written to a provider's prompt cache.
    pub cache_write_tokens: u64,
    /// Tokens of output, those of reasoning included.
    pub completion_tokens: u64,
    /// Tokens of output that were reasoning.
    pub reasoning_tokens: u64,
    /// What the calls cost whose cost is known, in micro-USD.
    pub cost_micro_usd: u64,
    /// Calls whose cost is not known.
    pub unpriced: u64,
    /// Calls whose tokens were estimated.
    pub estimated: u64,
    /// How long the calls took, in milliseconds.
    pub duration_ms: u64,
    /// Calls of which the time to the first content is known.
    pub streams: u64,
    /// How long it took these to the first content, in milliseconds.
    pub first_token_ms: u64,
}

impl Tally {
    /// The names of the sums, in the order of [`Tally::to_array`].
    pub const FIELDS: [&str; 14] = [
        "requests",
        "successful",
        "attempts",
        "prompt_tokens",
        "cached_tokens",
        "cache_write_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "cost_micro_usd",
        "unpriced",
        "estimated",
        "duration_ms",
        "streams",
        "first_token_ms",
    ];

    /// The sums in the order of [`Tally::FIELDS`].
    pub fn to_array(&self) -> [u64; 14] {
        [
            self.requests,
            self.successful,
            self.attempts,
            self.prompt_tokens,
            self.cached_tokens,
            self.cache_write_tokens,
            self.completion_tokens,
            self.reasoning_tokens,
            self.cost_micro_usd,
            self.unpriced,
            self.estimated,
            self.duration_ms,
            self.streams,
            self.first_token_ms,
        ]
    }

    /// What [`Tally::to_array`] gave.
    pub fn from_array(sums: [u64; 14]) -> Tally {
        let [
            requests,
            successful,
            attempts,
            prompt_tokens,
            cached_tokens,
            cache_write_tokens,
            completion_tokens,
            reasoning_tokens,
            cost_micro_usd,
            unpriced,
            estimated,
            duration_ms,
            streams,
            first_token_ms,
        ] = sums;
        Tally {
            requests,
            successful,
            attempts,
            prompt_tokens,
            cached_tokens,
            cache_write_tokens,
            completion_tokens,
            reasoning_tokens,
            cost_micro_usd,
            unpriced,
            estimated,
            duration_ms,
            streams,
            first_token_ms,
        }
    }

    /// Adds other calls. A sum that would be too large stays at the largest number.
    pub fn add(&mut self, other: &Tally) {
        let mut sums = self.to_array();
        for (sum, more) in sums.iter_mut().zip(other.to_array()) {
            *sum = sum.saturating_add(more);
        }
        *self = Tally::from_array(sums);
    }

    /// Calls that reached an upstream and were not answered completely.
    pub fn failed(&self) -> u64 {
        self.requests.saturating_sub(self.successful)
    }
}

/// Whose calls they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// The day, UTC: days since 1970.
    pub day: u32,
    /// The project; empty for calls without one.
    pub project: String,
    /// The provider.
    pub provider: String,
    /// Its model.
    pub model: String,
}

/// What the calls of one slice add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub slice: Slice,
    /// What.
    pub tally: Tally,
}

impl Row {
    /// The row as it travels: `[day, "project", "provider", "model", n, …]`, the sums as in [`Tally::FIELDS`].
    pub fn to_json(&self) -> Value {
        let Slice { day, project, provider, model } = &self.slice;
        let mut items: Vec<Value> = Vec::with_capacity(4 + Tally::FIELDS.len());
        items.push((*day).into());
        items.extend([project, provider, model].map(|name| Value::from(name.as_str())));
        items.extend(self.tally.to_array().map(Value::from));
        Value::Array(items)
    }

    /// Reads what [`Row::to_json`] wrote; `None` if it is anything else.
    pub fn from_json(value: &Value) -> Option<Row> {
        let items = value.as_array().filter(|items| items.len() == 4 + Tally::FIELDS.len())?;
        let mut items = items.iter();
        let day = u32::try_from(items.next()?.as_u64()?).ok()?;
        let mut name = || Some(items.next()?.as_str()?.to_owned());
        let slice = Slice { day, project: name()?, provider: name()?, model: name()? };
        let mut sums = [0; 14];
        for (sum, item) in sums.iter_mut().zip(items) {
            *sum = item.as_u64()?;
        }
        Some(Row { slice, tally: Tally::from_array(sums) })
    }
}

/// Adds a row to those of its slice.
pub fn merge(rows: &mut Vec<Row>, row: Row) {
    match rows.iter_mut().find(|known| known.slice == row.slice) {
        Some(known) => known.tally.add(&row.tally),
        None => rows.push(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn counted() -> Tally {
        Tally::from_array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    }

    #[test]
    fn each_name_is_that_of_its_sum() {
        let Tally {
            requests,
            successful,
            attempts,
            prompt_tokens,
            cached_tokens,
            cache_write_tokens,
            completion_tokens,
            reasoning_tokens,
            cost_micro_usd,
            unpriced,
            estimated,
            duration_ms,
            streams,
            first_token_ms,
        } = counted();
        let by_name = [
            ("requests", requests),
            ("successful", successful),
            ("attempts", attempts),
            ("prompt_tokens", prompt_tokens),
            ("cached_tokens", cached_tokens),
            ("cache_write_tokens", cache_write_tokens),
            ("completion_tokens", completion_tokens),
            ("reasoning_tokens", reasoning_tokens),
            ("cost_micro_usd", cost_micro_usd),
            ("unpriced", unpriced),
            ("estimated", estimated),
            ("duration_ms", duration_ms),
            ("streams", streams),
            ("first_token_ms", first_token_ms),
        ];
        let in_order: Vec<_> = Tally::FIELDS.into_iter().zip(counted().to_array()).collect();
        assert_eq!(in_order, by_name);
    }

    #[test]
    fn sums_stay_at_the_largest_number() {
        let mut tally = Tally { requests: u64::MAX - 1, successful: 3, ..Tally::default() };
        tally.add(&Tally { requests: 5, successful: 4, ..Tally::default() });
        assert_eq!((tally.requests, tally.successful), (u64::MAX, 7));
        assert_eq!(Tally { requests: 5, successful: 2, ..Tally::default() }.failed(), 3);
        assert_eq!(Tally { requests: 1, successful: 2, ..Tally::default() }.failed(), 0);
    }

    #[test]
    fn travels_as_an_array_and_nothing_else_is_read() {
        let slice =
            Slice { day: 20_000, project: String::new(), provider: "groq".into(), model: "a/b".into() };
        let row = Row { slice, tally: counted() };
        let array = json!([20_000, "", "groq", "a/b", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert_eq!(row.to_json(), array);
        assert_eq!(Row::from_json(&array), Some(row));
        let changed = |index: usize, value: Value| {
            let mut array = array.clone();
            array[index] = value;
            array
        };
        let mut long = array.clone();
        long.as_array_mut().unwrap().push(15.into());
        for wrong in [
            json!({}),
            json!([]),
            json!([20_000, "", "groq", "a/b"]),
            long,
            changed(0, "20000".into()),
            changed(0, 4_294_967_296_u64.into()),
            changed(1, Value::Null),
            changed(4, (-1).into()),
            changed(17, 1.5.into()),
            changed(17, "14".into()),
        ] {
            assert_eq!(Row::from_json(&wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arrays_and_rows_go_both_ways(day: u32, project: String, provider: String, model: String, sums: [u64; 14]) {
            let tally = Tally::from_array(sums);
            prop_assert_eq!(tally.to_array(), sums);
            let row = Row { slice: Slice { day, project, provider, model }, tally };
            let text = row.to_json().to_string();
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Row::from_json(&read), Some(row));
        }

        /// In whatever order calls are added, the sums are the same.
        #[test]
        fn adding_has_no_order(tallies in proptest::collection::vec(any::<[u64; 14]>(), 0..8)) {
            let sum = |tallies: &mut dyn Iterator<Item = &[u64; 14]>| {
                let mut sum = Tally::default();
                tallies.for_each(|sums| sum.add(&Tally::from_array(*sums)));
                sum
            };
            prop_assert_eq!(sum(&mut tallies.iter()), sum(&mut tallies.iter().rev()));
        }
    }
}
