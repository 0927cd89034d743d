//! Reading JSON into types of our own, where it is not hot: configuration, rows, what isolates and objects say to each other.
//!
//! The same types, read from the same text with the same words for what is wrong, as by `serde_json::from_str`, but by way of a
//! [`Value`]. Of what serde derives for a type, the parser's share is then compiled once and not once for each type, and the
//! reading of a struct from an array, which nobody writes, not at all: together 23 KB of the Wasm, gzipped. What runs for every
//! call reads its few members in place ([`crate::format`]).

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value, map};

/// Reads a text.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    read_value(&parse(text)?)
}

/// Reads what is parsed already.
pub fn read_value<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    T::deserialize(Typed(value))
}

#[inline(never)]
fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text)
}

/// A value that is to be read as some type.
#[derive(Clone, Copy)]
struct Typed<'v>(&'v Value);

impl Typed<'_> {
    /// The error that it is something else.
    #[inline(never)]
    fn is_not(self, expected: &dyn Expected) -> Error {
        let found = match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Unexpected::Unsigned(value),
                (None, Some(value)) => return Error::invalid_value(Unexpected::Signed(value), expected),
                (None, None) => Unexpected::Float(number.as_f64().unwrap_or_default()),
            },
        };
        Error::invalid_type(found, expected)
    }
}

/// Reads one kind of value, which a visitor takes in one way.
macro_rules! read {
    ($($method:ident: $pattern:pat => $found:expr, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let found = match self.0 {
                $pattern => $found,
                _ => None,
            };
            match found {
                Some(found) => visitor.$visit(found),
                None => Err(self.is_not(&visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Typed<'_> {
    type Error = Error;

    read! {
        deserialize_bool: Value::Bool(value) => Some(*value), visit_bool;
        deserialize_u8: Value::Number(number) => number.as_u64(), visit_u64;
        deserialize_u16: Value::Number(number) => number.as_u64(), visit_u64;
        deserialize_u32: Value::Number(number) => number.as_u64(), visit_u64;
        deserialize_u64: Value::Number(number) => number.as_u64(), visit_u64;
        deserialize_i8: Value::Number(number) => number.as_i64(), visit_i64;
        deserialize_i16: Value::Number(number) => number.as_i64(), visit_i64;
        deserialize_i32: Value::Number(number) => number.as_i64(), visit_i64;
        deserialize_i64: Value::Number(number) => number.as_i64(), visit_i64;
        deserialize_f32: Value::Number(number) => number.as_f64(), visit_f64;
        deserialize_f64: Value::Number(number) => number.as_f64(), visit_f64;
        deserialize_char: Value::String(text) => Some(text), visit_str;
        deserialize_str: Value::String(text) => Some(text), visit_str;
        deserialize_string: Value::String(text) => Some(text), visit_str;
        deserialize_identifier: Value::String(text) => Some(text), visit_str;
        deserialize_seq: Value::Array(items) => Some(Items(items.iter())), visit_seq;
        deserialize_map: Value::Object(members) => Some(Members::of(members)), visit_map;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(Items(items.iter())),
            Value::Object(members) => visitor.visit_map(Members::of(members)),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let variant = match self.0 {
            Value::String(name) => Some(Variant { name, content: &Value::Null }),
            Value::Object(members) if members.len() == 1 => {
                members.iter().next().map(|(name, content)| Variant { name, content })
            }
            _ => None,
        };
        match variant {
            Some(variant) => visitor.visit_enum(variant),
            None => Err(self.is_not(&"string or object with one member")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 bytes byte_buf unit unit_struct tuple_struct }
}

/// The items of an array.
struct Items<'v>(std::slice::Iter<'v, Value>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|item| seed.deserialize(Typed(item))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The members of an object.
struct Members<'v> {
    rest: map::Iter<'v>,
    /// That of the name that was read last.
    value: &'v Value,
}

impl Members<'_> {
    fn of(members: &map::Map<String, Value>) -> Members<'_> {
        Members { rest: members.iter(), value: &Value::Null }
    }
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = value;
        seed.deserialize(text(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Typed(self.value))
    }
}

/// A variant of an enum: a name, or a member of that name with what the variant holds.
struct Variant<'v> {
    name: &'v str,
    content: &'v Value,
}

impl<'v, 'de> EnumAccess<'de> for Variant<'v> {
    type Error = Error;
    type Variant = Typed<'v>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Typed<'v>), Error> {
        Ok((seed.deserialize(text(self.name))?, Typed(self.content)))
    }
}

impl<'de> VariantAccess<'de> for Typed<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        if self.0.is_null() { Ok(()) } else { Err(self.is_not(&"unit variant")) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }
}

/// A name, as what serde derives for names of members and variants takes it.
fn text(name: &str) -> StrDeserializer<'_, Error> {
    name.into_deserializer()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
    #[serde(deny_unknown_fields, default)]
    struct All {
        flag: bool,
        small: u8,
        large: u64,
        signed: i32,
        float: f64,
        text: String,
        maybe: Option<u32>,
        list: Vec<(String, u64)>,
        map: BTreeMap<String, Kind>,
        any: Value,
    }

    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Bare,
        One(String),
        Two(u32, u32),
        Named { deep: Box<All> },
    }

    fn words(error: &Error) -> String {
        let words = error.to_string();
        words.split(" at line ").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn says_the_same_as_serde_json_of_what_is_wrong() {
        for text in [
            "",
            "{",
            "5",
            "null",
            r#"{"flag":1}"#,
            r#"{"small":256}"#,
            r#"{"small":-1}"#,
            r#"{"small":1.5}"#,
            r#"{"small":"1"}"#,
            r#"{"small":null}"#,
            r#"{"large":18446744073709551616}"#,
            r#"{"signed":3000000000}"#,
            r#"{"float":"1"}"#,
            r#"{"text":5}"#,
            r#"{"text":["a"]}"#,
            r#"{"maybe":"x"}"#,
            r#"{"list":{}}"#,
            r#"{"list":[["a"]]}"#,
            r#"{"map":[]}"#,
            r#"{"map":{"a":"other"}}"#,
            r#"{"map":{"a":{"one":5}}}"#,
            r#"{"map":{"a":{"named":{}}}}"#,
            r#"{"other":1}"#,
        ] {
            let ours = read::<All>(text).unwrap_err();
            let theirs = serde_json::from_str::<All>(text).unwrap_err();
            assert_eq!(words(&ours), words(&theirs), "{text}");
        }
        assert!(read::<All>("[]").is_err(), "a struct is not read from an array");
        assert!(read::<Kind>(r#"{"one":"a","bare":null}"#).is_err());
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Bare),
            any::<String>().prop_map(Kind::One),
            any::<(u32, u32)>().prop_map(|(a, b)| Kind::Two(a, b)),
            any::<(u8, Option<u32>)>().prop_map(|(small, maybe)| {
                Kind::Named { deep: Box::new(All { small, maybe, ..All::default() }) }
            }),
        ]
    }

    proptest! {
        #[test]
        fn reads_what_has_been_written(
            (flag, small, large, signed) in any::<(bool, u8, u64, i32)>(),
            thousandths in -1_000_000_i32..1_000_000,
            (text, maybe, list) in any::<(String, Option<u32>, Vec<(String, u64)>)>(),
            map in prop::collection::btree_map(any::<String>(), kind(), 0..4),
        ) {
            let any = serde_json::json!({"list": list, "n": signed, "none": null});
            let float = f64::from(thousandths) / 8.0;
            let all = All { flag, small, large, signed, float, text, maybe, list, map, any };
            let written = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(read::<All>(&written).unwrap(), all.clone());
            prop_assert_eq!(read::<Value>(&written).unwrap(), serde_json::to_value(&all).unwrap());
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = read::<All>(&text);
        }
    }
}
