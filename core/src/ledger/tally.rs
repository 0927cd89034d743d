//! Rows of usage: sums over calls, by hour, operation, project, provider and model.
//!
//! The columns of the database and the rows in messages are in the order of [`Tally::FIELDS`]. Reports about rows are in
//! `report::usage` and `report::spending`.

use std::borrow::Cow;

use serde_json::Value;

/// The number of elements of a row before its sums.
const HEAD: usize = 4;
/// The number of elements of a row.
const ELEMENTS: usize = HEAD + Tally::FIELDS.len() + 1;
/// The hours of a day.
pub const DAY_HOURS: u32 = 24;

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

/// The key of a row: hour, operation, project, provider and model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// The hour, UTC: hours since 1970. Rows of whole days have the first hour of their day.
    pub hour: u32,
    /// The operation ([`crate::operation::Operation::name`]); empty if it was not recorded or is not distinguished.
    pub operation: Cow<'static, str>,
    /// The project; empty for calls without one.
    pub project: String,
    /// The provider.
    pub provider: String,
    /// The provider's id of the model.
    pub model: String,
}

impl Slice {
    /// The day, UTC: days since 1970.
    pub fn day(&self) -> u32 {
        self.hour / DAY_HOURS
    }
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
    /// The row in messages: `[hour, "project", "provider", "model", n, …, "operation"]`, with the sums as in
    /// [`Tally::FIELDS`].
    pub fn to_json(&self) -> Value {
        self.clone().into_json()
    }

    /// The same from a row that is not used any more.
    pub fn into_json(self) -> Value {
        let Slice { hour, operation, project, provider, model } = self.slice;
        let mut items: Vec<Value> = Vec::with_capacity(ELEMENTS);
        items.push(hour.into());
        items.extend([project, provider, model].map(Value::from));
        items.extend(self.tally.to_array().map(Value::from));
        items.push(operation.into());
        Value::Array(items)
    }

    /// Reads the output of [`Row::to_json`]; `None` for any other value. Earlier versions wrote rows without an operation,
    /// whose first element is a day: days since 1970.
    pub fn from_json(value: &Value) -> Option<Row> {
        let items = value.as_array()?;
        let is_of_day = items.len() == ELEMENTS - 1;
        if !is_of_day && items.len() != ELEMENTS {
            return None;
        }
        let mut items = items.iter();
        let time = u32::try_from(items.next()?.as_u64()?).ok()?;
        let hour = if is_of_day { time.checked_mul(DAY_HOURS)? } else { time };
        let mut name = || Some(items.next()?.as_str()?.to_owned());
        let (project, provider, model) = (name()?, name()?, name()?);
        let mut sums = [0; Tally::FIELDS.len()];
        for sum in &mut sums {
            *sum = items.next()?.as_u64()?;
        }
        let operation = if is_of_day { "" } else { items.next()?.as_str()? };
        let operation = Cow::Owned(operation.to_owned());
        Some(Row {
            slice: Slice { hour, operation, project, provider, model },
            tally: Tally::from_array(sums),
        })
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
        let migrations = [
            include_str!("../../../migrations/0002_usage.sql"),
            include_str!("../../../migrations/0006_usage_by_key.sql"),
        ];
        let tables = migrations.iter().flat_map(|text| text.split("CREATE TABLE usage_").skip(1));
        let tables = tables.filter_map(|table| Some(table.split_once(") STRICT")?.0));
        let with_sums: Vec<&str> = tables.filter(|table| !table.starts_with("watermarks")).collect();
        assert_eq!(with_sums.len(), 3);
        for table in with_sums {
            let columns = table.lines().filter_map(|line| line.trim().split_once(" INTEGER NOT NULL,"));
            let columns = columns.map(|(name, _)| name.trim()).filter(|name| !["day", "hour"].contains(name));
            assert_eq!(columns.collect::<Vec<_>>(), Tally::FIELDS);
        }
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
        let slice = Slice {
            hour: 480_005,
            operation: "embeddings".into(),
            project: String::new(),
            provider: "groq".into(),
            model: "a/b".into(),
        };
        assert_eq!(slice.day(), 20_000);
        let row = Row { slice, tally: counted() };
        let array =
            json!([480_005, "", "groq", "a/b", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, "embeddings"]);
        assert_eq!(row.to_json(), array);
        assert_eq!(Row::from_json(&array), Some(row.clone()));
        let of_day = json!([20_000, "", "groq", "a/b", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        let earlier = Slice { hour: 480_000, operation: "".into(), ..row.slice.clone() };
        assert_eq!(Row::from_json(&of_day), Some(Row { slice: earlier, ..row }), "of an earlier version");
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
            changed(18, 15.into()),
        ] {
            assert_eq!(Row::from_json(&wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arrays_and_rows_round_trip(hour: u32, names: [String; 4], sums: [u64; 14]) {
            let tally = Tally::from_array(sums);
            prop_assert_eq!(tally.to_array(), sums);
            let [operation, project, provider, model] = names;
            let row = Row { slice: Slice { hour, operation: operation.into(), project, provider, model }, tally };
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
