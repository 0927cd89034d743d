//! Rows of usage: sums over calls, by day, project, provider and model.
//!
//! The columns of the database and the rows in messages are in the order of [`Tally::FIELDS`]. Reports about rows are in
//! `report::usage`.

use serde_json::Value;

/// Defines [`Tally`] from the names of its sums, the only list of them. SQL and messages take the names and their order
/// from [`Tally::FIELDS`].
macro_rules! sums {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Sums over calls.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Tally {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Tally {
            /// The names of the sums.
            pub const FIELDS: [&'static str; [$(stringify!($name)),+].len()] = [$(stringify!($name)),+];

            /// The sums, in the order of [`Tally::FIELDS`].
            pub fn to_array(&self) -> [u64; Tally::FIELDS.len()] {
                [$(self.$name),+]
            }

            /// Reads the output of [`Tally::to_array`].
            pub fn from_array([$($name),+]: [u64; Tally::FIELDS.len()]) -> Tally {
                Tally { $($name),+ }
            }
        }
    };
}

sums! {
    /// Calls that were sent to a provider.
    requests,
    /// Calls with a complete response.
    successful,
    /// Attempts.
    attempts,
    /// Input tokens, including the next two.
    prompt_tokens,
    /// Input tokens that came from a provider's prompt cache.
    cached_tokens,
    /// Input tokens that were written to a provider's prompt cache.
    cache_write_tokens,
    /// Output tokens, including the next.
    completion_tokens,
    /// Reasoning tokens.
    reasoning_tokens,
    /// Cost of the calls whose cost is known, in micro-USD.
    cost_micro_usd,
    /// Calls whose cost is unknown.
    unpriced,
    /// Calls whose tokens were estimated.
    estimated,
    /// Duration of the calls, in milliseconds.
    duration_ms,
    /// Calls whose time until the first content is known.
    streams,
    /// That time, in milliseconds.
    first_token_ms,
}

impl Tally {
    /// Adds other calls. A sum that would overflow stays at the maximum.
    pub fn add(&mut self, other: &Tally) {
        let mut sums = self.to_array();
        for (sum, more) in sums.iter_mut().zip(other.to_array()) {
            *sum = sum.saturating_add(more);
        }
        *self = Tally::from_array(sums);
    }

    /// Calls that reached an upstream and had no complete response.
    pub fn failed(&self) -> u64 {
        self.requests.saturating_sub(self.successful)
    }
}

/// The key of a row: day, project, provider and model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// The day, UTC: days since 1970.
    pub day: u32,
    /// The project; empty for calls without one.
    pub project: String,
    /// The provider.
    pub provider: String,
    /// The provider's id of the model.
    pub model: String,
}

/// The sums of the calls of one slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The slice.
    pub slice: Slice,
    /// The sums.
    pub tally: Tally,
}

impl Row {
    /// The row in messages: `[day, "project", "provider", "model", n, …]`, with the sums as in [`Tally::FIELDS`].
    pub fn to_json(&self) -> Value {
        let Slice { day, project, provider, model } = &self.slice;
        let mut items: Vec<Value> = Vec::with_capacity(4 + Tally::FIELDS.len());
        items.push((*day).into());
        items.extend([project, provider, model].map(|name| Value::from(name.as_str())));
        items.extend(self.tally.to_array().map(Value::from));
        Value::Array(items)
    }

    /// Reads the output of [`Row::to_json`]; `None` for any other value.
    pub fn from_json(value: &Value) -> Option<Row> {
        let items = value.as_array().filter(|items| items.len() == 4 + Tally::FIELDS.len())?;
        let mut items = items.iter();
        let day = u32::try_from(items.next()?.as_u64()?).ok()?;
        let mut name = || Some(items.next()?.as_str()?.to_owned());
        let slice = Slice { day, project: name()?, provider: name()?, model: name()? };
        let mut sums = [0; Tally::FIELDS.len()];
        for (sum, item) in sums.iter_mut().zip(items) {
            *sum = item.as_u64()?;
        }
        Some(Row { slice, tally: Tally::from_array(sums) })
    }
}

/// Adds a row to the row of its slice, or appends it.
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
    fn the_columns_of_the_database_are_the_names_of_the_sums() {
        let migration = include_str!("../../../migrations/0002_usage.sql");
        let table = migration.split_once("CREATE TABLE usage_daily (").unwrap().1.split_once(')').unwrap().0;
        let columns = table.lines().filter_map(|line| line.trim().split_once(" INTEGER NOT NULL,"));
        let columns: Vec<_> = columns.map(|(name, _)| name.trim()).filter(|name| *name != "day").collect();
        assert_eq!(columns, Tally::FIELDS);
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
    fn is_written_as_an_array_and_rejects_other_values() {
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
        fn arrays_and_rows_round_trip(day: u32, project: String, provider: String, model: String, sums: [u64; 14]) {
            let tally = Tally::from_array(sums);
            prop_assert_eq!(tally.to_array(), sums);
            let row = Row { slice: Slice { day, project, provider, model }, tally };
            let text = row.to_json().to_string();
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Row::from_json(&read), Some(row));
        }

        /// The order in which calls are added does not change the sums.
        #[test]
        fn the_order_of_additions_does_not_matter(tallies in proptest::collection::vec(any::<[u64; 14]>(), 0..8)) {
            let sum = |tallies: &mut dyn Iterator<Item = &[u64; 14]>| {
                let mut sum = Tally::default();
                tallies.for_each(|sums| sum.add(&Tally::from_array(*sums)));
                sum
            };
            prop_assert_eq!(sum(&mut tallies.iter()), sum(&mut tallies.iter().rev()));
        }
    }
}
