//! The top-level members of a JSON object, as places in its bytes.
//!
//! One pass of `serde_json` checks the whole text and tells where the members of interest are; nothing is copied and no
//! tree is built.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::order::by_rank;

/// One member of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its value, as it is written.
    pub value: &'a str,
    /// Where the value is.
    pub place: Range<usize>,
    /// What to cut to remove the member with its name and one comma. See [`removals`] for several.
    pub extent: Range<usize>,
    /// Whether it is the first of the object.
    pub first: bool,
}

/// The members of interest of an object, in the order in which they were asked for.
#[derive(Debug)]
pub struct Members<'a, const N: usize> {
    /// A member each, or `None` where the object has none of this name.
    pub found: [Option<Member<'a>>; N],
    /// Where a further member can be inserted, at the end of the object.
    pub end: usize,
    /// Whether the object has any member at all, so that an inserted one needs a comma.
    pub any: bool,
    /// All other members, in their order. Only [`read_all`] fills this.
    pub others: Vec<(Cow<'a, str>, Member<'a>)>,
}

/// Why an object could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Not JSON, or not an object; what is wrong, in which member if that is known, and where.
    Malformed(String),
    /// A member of interest appears twice.
    Duplicate(&'static str),
}

/// Finds the members of these names in a JSON object.
pub fn read<'a, const N: usize>(
    text: &'a [u8],
    names: &'static [&'static str; N],
) -> Result<Members<'a, N>, ReadError> {
    visit(text, names, false)
}

/// The same, with all other members too.
pub fn read_all<'a, const N: usize>(
    text: &'a [u8],
    names: &'static [&'static str; N],
) -> Result<Members<'a, N>, ReadError> {
    visit(text, names, true)
}

fn visit<'a, const N: usize>(
    text: &'a [u8],
    names: &'static [&'static str; N],
    keep_others: bool,
) -> Result<Members<'a, N>, ReadError> {
    let progress = Progress::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let object = ObjectVisitor { text, names, keep_others, progress: &progress };
    let members =
        deserializer.deserialize_map(object).and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|error| match progress.duplicate.get() {
        Some(name) => ReadError::Duplicate(name),
        None => ReadError::Malformed(describe(text, &error, progress.member.get(), names)),
    })
}

/// The line and column, from 1, of a place in a text; columns count bytes, as JSON parsers do.
pub fn line_and_column(text: &[u8], place: usize) -> (usize, usize) {
    let before = text.get(..place).unwrap_or(text);
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (memchr::memchr_iter(b'\n', before).count() + 1, place - line_start + 1)
}

fn describe(text: &[u8], error: &serde_json::Error, member: Option<usize>, names: &[&str]) -> String {
    if text.iter().all(u8::is_ascii_whitespace) {
        return "the body is empty".to_owned();
    }
    // Of a value that is no object, serde_json repeats the whole text.
    if error.classify() == serde_json::error::Category::Data {
        return format!("expected a JSON object at line {} column {}", error.line(), error.column());
    }
    let inside = member
        .and_then(|index| names.get(index))
        .map_or_else(String::new, |name| format!(" (in or after member '{name}')"));
    format!("{error}{inside}")
}

/// What the visitor had seen when an error stopped it.
#[derive(Default)]
struct Progress {
    member: Cell<Option<usize>>,
    duplicate: Cell<Option<&'static str>>,
}

struct ObjectVisitor<'a, 'p, const N: usize> {
    text: &'a [u8],
    names: &'static [&'static str; N],
    keep_others: bool,
    progress: &'p Progress,
}

impl<'a, const N: usize> Visitor<'a> for ObjectVisitor<'a, '_, N> {
    type Value = Members<'a, N>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [const { None }; N];
        // The end of the member before, or the place after the opening brace.
        let mut before = memchr::memchr(b'{', self.text).map_or(0, |brace| brace + 1);
        let mut any = false;
        let mut others = Vec::new();
        while let Some(name) =
            map.next_key_seed(NameSeed { names: self.names, keep_others: self.keep_others })?
        {
            if let Name::Known(index) = name {
                self.progress.member.set(Some(index));
            }
            let raw: &RawValue = map.next_value()?;
            let value = raw.get();
            // The value borrows from the text, so their addresses tell where it is.
            let start = (value.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
            let place = start..start + value.len();
            let end = place.end;
            let extent = if any { before..end } else { before..after_comma(self.text, end) };
            let member = Member { value, place, extent, first: !any };
            match name {
                Name::Known(index) => {
                    if let Some((slot, name)) = found.get_mut(index).zip(self.names.get(index)) {
                        if slot.is_some() {
                            self.progress.duplicate.set(Some(name));
                            return Err(A::Error::custom("duplicate member"));
                        }
                        *slot = Some(member);
                    }
                }
                Name::Other(Some(name)) => others.push((name, member)),
                Name::Other(None) => {}
            }
            any = true;
            before = end;
        }
        Ok(Members { found, end: before, any, others })
    }
}

/// The place after the comma that follows `end` with nothing but white space between, or `end` if there is none.
fn after_comma(text: &[u8], end: usize) -> usize {
    let rest = text.get(end..).unwrap_or_default();
    match rest.iter().position(|byte| !byte.is_ascii_whitespace()) {
        Some(offset) if rest.get(offset) == Some(&b',') => end + offset + 1,
        _ => end,
    }
}

/// A member's name: its index among the names of interest, or, where others are kept, itself.
enum Name<'a> {
    Known(usize),
    Other(Option<Cow<'a, str>>),
}

/// Reads a member's name; of interest or not, it allocates only for names with escapes that are kept.
struct NameSeed {
    names: &'static [&'static str],
    keep_others: bool,
}

impl NameSeed {
    fn known<'a>(&self, name: &str) -> Option<Name<'a>> {
        self.names.iter().position(|known| *known == name).map(Name::Known)
    }
}

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Name<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let other = || self.keep_others.then(|| Cow::Owned(name.to_owned()));
        Ok(self.known(name).unwrap_or_else(|| Name::Other(other())))
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        let other = || self.keep_others.then_some(Cow::Borrowed(name));
        Ok(self.known(name).unwrap_or_else(|| Name::Other(other())))
    }
}

/// In how many objects and arrays a place of a JSON text lies; `None` inside of a string, or where more are closed than opened.
pub fn depth(text: &[u8], place: usize) -> Option<u32> {
    let mut depth = 0u32;
    let mut in_string = false;
    let mut bytes = text.get(..place)?.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => _ = bytes.next(),
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    (!in_string).then_some(depth)
}

/// Whether a value is an array without items.
pub fn is_empty_array(value: &str) -> bool {
    value.strip_prefix('[').is_some_and(|rest| rest.trim_start() == "]")
}

/// A value read from the text of a member; `null` counts as absent.
pub fn value<'a, T: Deserialize<'a>>(text: &'a str) -> Result<Option<T>, serde_json::Error> {
    serde_json::from_str(text)
}

/// Things in the order of their places in a text.
#[expect(clippy::cast_precision_loss, reason = "texts are far shorter than 2^52 bytes")]
pub fn by_place<T>(things: Vec<T>, place: impl Fn(&T) -> usize) -> Vec<T> {
    if things.len() < 2 { things } else { by_rank(things, |thing| [place(thing) as f64]) }
}

/// What to cut to remove several members of one object. Where the first of the object goes, those that follow it at once
/// take the comma behind them along, not the one before.
pub fn removals(text: &[u8], members: Vec<&Member<'_>>) -> Vec<(Range<usize>, Vec<u8>)> {
    let mut head_end = None;
    by_place(members, |member| member.place.start)
        .into_iter()
        .map(|member| {
            let of_head = member.first || head_end == Some(member.extent.start);
            if !of_head {
                return (member.extent.clone(), Vec::new());
            }
            head_end = Some(member.place.end);
            (member.extent.start..after_comma(text, member.place.end), Vec::new())
        })
        .collect()
}

/// A text with some places replaced. The changes must be in order of their beginnings; one that lies inside of what an
/// earlier one has replaced is left out.
pub fn splice(text: &[u8], changes: &[(Range<usize>, Vec<u8>)]) -> Vec<u8> {
    let added: usize = changes.iter().map(|(_, replacement)| replacement.len()).sum();
    let mut out = Vec::with_capacity(text.len() + added);
    let mut copied = 0;
    for (place, replacement) in changes {
        if place.start < copied && place.end <= copied {
            continue;
        }
        out.extend_from_slice(text.get(copied..place.start).unwrap_or_default());
        out.extend_from_slice(replacement);
        copied = place.end;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const NAMES: &[&str; 2] = &["a", "b"];

    fn without(text: &str, index: usize) -> String {
        let members = read(text.as_bytes(), NAMES).unwrap();
        let extent = members.found[index].clone().unwrap().extent;
        String::from_utf8(splice(text.as_bytes(), &[(extent, Vec::new())])).unwrap()
    }

    #[test]
    fn removes_a_member_wherever_it_stands() {
        for (text, rest) in [
            (r#"{"a":1}"#, "{}"),
            (r#"{"a":1,"x":2}"#, r#"{"x":2}"#),
            (r#"{ "a" : 1 , "x" : 2 }"#, r#"{ "x" : 2 }"#),
            (r#"{"x":2,"a":1}"#, r#"{"x":2}"#),
            (r#"{"x":2 , "a":1 , "y":3}"#, r#"{"x":2 , "y":3}"#),
            (r#"{"\u0061":1,"x":"},{"}"#, r#"{"x":"},{"}"#),
        ] {
            assert_eq!(without(text, 0), rest, "{text}");
        }
    }

    #[test]
    fn tells_what_is_wrong_and_where() {
        for (text, part) in [
            ("", "empty"),
            (" \n", "empty"),
            ("[1]", "expected a JSON object"),
            ("\"secret\"", "expected a JSON object at line 1 column 8"),
            (r#"{"a":1"#, "EOF while parsing an object at line 1 column 6 (in or after member 'a')"),
            ("{\"x\":1,\n\"b\":tru}", "line 2 column"),
            (r#"{"a":1} x"#, "trailing characters at line 1 column 9"),
            ("{'a':1}", "key must be a string at line 1 column 2"),
        ] {
            let Err(ReadError::Malformed(message)) = read(text.as_bytes(), NAMES) else { panic!("{text}") };
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
        assert_eq!(read(br#"{"a":1,"\u0061":2}"#, NAMES).unwrap_err(), ReadError::Duplicate("a"));
        assert!(read(b"{\"x\":\"\xff\"}", NAMES).is_err(), "not UTF-8");
        assert!(read(br#"{"x":1,"x":2}"#, NAMES).is_ok(), "the upstream's business");
    }

    #[test]
    fn deep_nesting_is_read_without_recursion() {
        let deep = format!(r#"{{"x":{}{},"a":1}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(read(deep.as_bytes(), NAMES).unwrap().found[0].is_some());
    }

    #[test]
    fn counts_lines_and_columns_from_one() {
        assert_eq!(line_and_column(b"ab\ncd", 0), (1, 1));
        assert_eq!(line_and_column(b"ab\ncd", 4), (2, 2));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-d{}\",]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Removing a member and replacing another changes exactly those, in any object, written in either style.
        #[test]
        fn splices_only_what_is_named(object in proptest::collection::btree_map("[a-f]", any_json(), 0..6), pretty: bool) {
            let object = Value::Object(object.into_iter().collect());
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
            let members = read(text.as_bytes(), NAMES).unwrap();
            let mut changes = Vec::new();
            let mut expected = object.clone();
            if let Some(a) = &members.found[0] {
                changes.push((a.extent.clone(), Vec::new()));
                expected.as_object_mut().unwrap().remove("a");
            }
            if let Some(b) = &members.found[1] {
                prop_assert_eq!(serde_json::from_str::<Value>(b.value).unwrap(), object["b"].clone());
                changes.push((b.place.clone(), b"\"new\"".to_vec()));
                expected["b"] = "new".into();
            }
            prop_assert_eq!(members.any, !object.as_object().unwrap().is_empty());
            let changed = splice(text.as_bytes(), &changes);
            prop_assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), expected);
        }

        /// Removing any set of members leaves exactly the others.
        #[test]
        fn removes_any_set_of_members(
            object in proptest::collection::btree_map("[a-f]", any_json(), 0..7),
            gone in proptest::collection::btree_set("[a-f]", 0..6),
            pretty: bool,
        ) {
            let mut object = Value::Object(object.into_iter().collect());
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
            let members = read_all(text.as_bytes(), &[]).unwrap();
            let going = members.others.iter().filter(|(name, _)| gone.contains(&**name)).map(|(_, member)| member);
            let changes = removals(text.as_bytes(), going.collect());
            let left = splice(text.as_bytes(), &changes);
            object.as_object_mut().unwrap().retain(|name, _| !gone.contains(name));
            prop_assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), object);
        }

        /// What is changed inside of what goes makes no difference.
        #[test]
        fn what_is_gone_is_not_changed(before in "[a-z]{0,3}", gone in "[a-z]{1,9}", after in "[a-z]{0,3}", at in 0usize..9, end in 0usize..9) {
            let text = [&*before, &*gone, &*after].concat();
            let extent = before.len()..before.len() + gone.len();
            let (at, end) = (at.min(gone.len() - 1), end.min(gone.len()));
            let inside = extent.start + at..extent.start + end.max(at);
            let changes = [(extent.clone(), b"-".to_vec()), (inside, b"!".to_vec())];
            prop_assert_eq!(splice(text.as_bytes(), &changes), [&*before, "-", &*after].concat().into_bytes());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = read(&bytes, NAMES);
        }
    }
}
