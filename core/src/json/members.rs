//! The top-level members of a JSON object, as positions in its bytes.
//!
//! One pass of `serde_json` checks the whole text and finds the members; no value is copied and no tree is built.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The largest number of members of an object whose members are all kept: requests have about ten. Each takes about a
/// hundred bytes, far more than it may have in the text.
const MAX_MEMBERS: usize = 10_000;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The text of its value.
    pub value: &'a str,
    /// The position of the value.
    pub place: Range<usize>,
    /// The bytes to cut in order to remove the member with its name and one comma. For several members, see
    /// [`removals`].
    pub extent: Range<usize>,
    /// It is the first member of the object.
    pub first: bool,
}

/// All members of an object, in their order.
#[derive(Debug)]
pub struct Members<'a> {
    list: Vec<(Cow<'a, str>, Member<'a>)>,
    /// The position at which a further member can be inserted, at the end of the object.
    pub end: usize,
}

impl<'a> Members<'a> {
    /// Finds all members of a JSON object. A name of `once` that appears twice is an error.
    pub fn read(text: &'a [u8], once: &'static [&'static str]) -> Result<Members<'a>, ReadError> {
        // Requests have about ten members.
        let mut list = Vec::with_capacity(16);
        let mut number = 0;
        let end = visit(text, once, |name, member| {
            number += 1;
            if number <= MAX_MEMBERS {
                list.push((name, member));
            }
        })?;
        if number > MAX_MEMBERS {
            return Err(ReadError::Malformed(format!("it has more than {MAX_MEMBERS} fields")));
        }
        Ok(Members { list, end })
    }

    /// The first member of a name.
    pub fn get(&self, name: &str) -> Option<&Member<'a>> {
        self.all(name).next()
    }

    /// All members of a name; a name that is not in `once` can appear several times.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Member<'a>> {
        self.list.iter().filter(move |(known, _)| known == name).map(|(_, member)| member)
    }

    /// All members, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Member<'a>)> {
        self.list.iter().map(|(name, member)| (&**name, member))
    }

    /// Returns true if the object has no member, so that an inserted one needs no comma.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Finds the members of these names in a JSON object, in the order of the names; each may appear once.
pub fn pick<'a, const N: usize>(
    text: &'a [u8],
    names: &'static [&'static str; N],
) -> Result<[Option<Member<'a>>; N], ReadError> {
    let mut found = [const { None }; N];
    visit(text, names, |name, member| {
        let index = names.iter().position(|known| *known == name);
        if let Some(slot) = index.and_then(|index| found.get_mut(index)) {
            *slot = Some(member);
        }
    })?;
    Ok(found)
}

/// The reason why an object could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Not JSON, or not an object: the fault, its position, and the member if it is known.
    Malformed(String),
    /// A member that may appear once appears twice.
    Duplicate(&'static str),
}

/// Passes every member of an object to `take`, and returns the position at which a further one could be inserted.
fn visit<'a>(
    text: &'a [u8],
    once: &'static [&'static str],
    take: impl FnMut(Cow<'a, str>, Member<'a>),
) -> Result<usize, ReadError> {
    let progress = Progress::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let object = ObjectVisitor { text, once, take, progress: &progress };
    let end = deserializer.deserialize_map(object).and_then(|end| deserializer.end().map(|()| end));
    end.map_err(|error| match progress.duplicate.get() {
        Some(name) => ReadError::Duplicate(name),
        None => ReadError::Malformed(describe(text, &error, progress.member.get())),
    })
}

/// The line and column, from 1, of a position in a text; columns count bytes, as JSON parsers do.
pub fn line_and_column(text: &[u8], place: usize) -> (usize, usize) {
    let before = text.get(..place).unwrap_or(text);
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (memchr::memchr_iter(b'\n', before).count() + 1, place - line_start + 1)
}

fn describe(text: &[u8], error: &serde_json::Error, member: Option<&str>) -> String {
    if text.iter().all(u8::is_ascii_whitespace) {
        return "the body is empty".to_owned();
    }
    // For a value that is not an object, serde_json repeats the whole text.
    if error.classify() == serde_json::error::Category::Data {
        return format!("expected a JSON object at line {} column {}", error.line(), error.column());
    }
    let inside = member.map_or_else(String::new, |name| format!(" (in or after field '{name}')"));
    format!("{error}{inside}")
}

/// The state of the visitor when an error stopped it.
#[derive(Default)]
struct Progress {
    member: Cell<Option<&'static str>>,
    duplicate: Cell<Option<&'static str>>,
}

struct ObjectVisitor<'a, 'p, F> {
    text: &'a [u8],
    once: &'static [&'static str],
    take: F,
    progress: &'p Progress,
}

/// A JSON string. It is copied only where it has escapes.
#[derive(Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'a, F: FnMut(Cow<'a, str>, Member<'a>)> Visitor<'a> for ObjectVisitor<'a, '_, F> {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<usize, A::Error> {
        // The end of the previous member, or the position after the opening brace.
        let mut before = memchr::memchr(b'{', self.text).map_or(0, |brace| brace + 1);
        let mut first = true;
        // The names of `once` that have appeared, one bit each.
        let mut seen = 0_u64;
        while let Some(Text(name)) = map.next_key()? {
            let index = self.once.iter().position(|known| *known == name);
            if let Some((index, known)) = index.zip(index.and_then(|index| self.once.get(index))) {
                self.progress.member.set(Some(known));
                if seen >> index & 1 == 1 {
                    self.progress.duplicate.set(Some(known));
                    return Err(A::Error::custom("duplicate member"));
                }
                seen |= 1 << index;
            }
            let raw: &RawValue = map.next_value()?;
            let value = raw.get();
            // The value borrows from the text, so their addresses give its position.
            let start = (value.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
            let place = start..start + value.len();
            let end = place.end;
            let extent = if first { before..after_comma(self.text, end) } else { before..end };
            (self.take)(name, Member { value, place, extent, first });
            first = false;
            before = end;
        }
        Ok(before)
    }
}

/// The position after the comma that follows `end` with only white space between, or `end` if there is none.
fn after_comma(text: &[u8], end: usize) -> usize {
    let rest = text.get(end..).unwrap_or_default();
    match rest.iter().position(|byte| !byte.is_ascii_whitespace()) {
        Some(offset) if rest.get(offset) == Some(&b',') => end + offset + 1,
        _ => end,
    }
}

/// Returns true if a value is an array without items.
pub fn is_empty_array(value: &str) -> bool {
    value.strip_prefix('[').is_some_and(|rest| rest.trim_start() == "]")
}

/// Reads a value from the text of a member; `null` counts as absent.
pub fn value<'a, T: Deserialize<'a>>(text: &'a str) -> Result<Option<T>, serde_json::Error> {
    serde_json::from_str(text)
}

/// The bytes to cut in order to remove several members of one object. If the first member is removed, the removed
/// members that follow it directly lose the comma after them, not the one before.
pub fn removals(text: &[u8], mut members: Vec<&Member<'_>>) -> Vec<(Range<usize>, Vec<u8>)> {
    let mut head_end = None;
    members.sort_by_key(|member| member.place.start);
    members
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

/// Replaces parts of a text. The changes must be in the order of their start; a change inside an earlier one is
/// ignored.
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
        let extent = pick(text.as_bytes(), NAMES).unwrap()[index].clone().unwrap().extent;
        String::from_utf8(splice(text.as_bytes(), &[(extent, Vec::new())])).unwrap()
    }

    #[test]
    fn removes_a_member_at_any_position() {
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
    fn an_object_with_too_many_members_is_rejected() {
        let text = |members: usize| format!("{{{}}}", vec![r#""a":1"#; members].join(","));
        assert!(Members::read(text(MAX_MEMBERS).as_bytes(), &[]).is_ok());
        let Err(ReadError::Malformed(message)) = Members::read(text(MAX_MEMBERS + 1).as_bytes(), &[]) else {
            panic!("read")
        };
        assert_eq!(message, "it has more than 10000 fields");
    }

    #[test]
    fn errors_name_the_fault_and_its_position() {
        for (text, part) in [
            ("", "empty"),
            (" \n", "empty"),
            ("[1]", "expected a JSON object"),
            ("\"secret\"", "expected a JSON object at line 1 column 8"),
            (r#"{"a":1"#, "EOF while parsing an object at line 1 column 6 (in or after field 'a')"),
            ("{\"x\":1,\n\"b\":tru}", "line 2 column"),
            (r#"{"a":1} x"#, "trailing characters at line 1 column 9"),
            ("{'a':1}", "key must be a string at line 1 column 2"),
        ] {
            let Err(ReadError::Malformed(message)) = pick(text.as_bytes(), NAMES) else { panic!("{text}") };
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
        assert_eq!(pick(br#"{"a":1,"\u0061":2}"#, NAMES).unwrap_err(), ReadError::Duplicate("a"));
        assert!(pick(b"{\"x\":\"\xff\"}", NAMES).is_err(), "not UTF-8");
        assert!(pick(br#"{"x":1,"x":2}"#, NAMES).is_ok(), "the upstream's business");
    }

    #[test]
    fn deep_nesting_is_read_without_recursion() {
        let deep = format!(r#"{{"x":{}{},"a":1}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(pick(deep.as_bytes(), NAMES).unwrap()[0].is_some());
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
        /// Removing a member and replacing another changes only these, in any object, in compact or indented form.
        #[test]
        fn splices_only_the_named_members(object in proptest::collection::btree_map("[a-f]", any_json(), 0..6), pretty: bool) {
            let object = Value::Object(object.into_iter().collect());
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
            let [a, b] = pick(text.as_bytes(), NAMES).unwrap();
            let mut changes = Vec::new();
            let mut expected = object.clone();
            if let Some(a) = a {
                changes.push((a.extent, Vec::new()));
                expected.as_object_mut().unwrap().remove("a");
            }
            if let Some(b) = b {
                prop_assert_eq!(serde_json::from_str::<Value>(b.value).unwrap(), object["b"].clone());
                changes.push((b.place, b"\"new\"".to_vec()));
                expected["b"] = "new".into();
            }
            let members = Members::read(text.as_bytes(), &[]).unwrap();
            prop_assert_eq!(members.is_empty(), object.as_object().unwrap().is_empty());
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
            let members = Members::read(text.as_bytes(), &[]).unwrap();
            let going = members.iter().filter(|(name, _)| gone.contains(*name)).map(|(_, member)| member);
            let changes = removals(text.as_bytes(), going.collect());
            let left = splice(text.as_bytes(), &changes);
            object.as_object_mut().unwrap().retain(|name, _| !gone.contains(name));
            prop_assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), object);
        }

        /// A change inside a removed part has no effect.
        #[test]
        fn changes_inside_a_removed_part_have_no_effect(before in "[a-z]{0,3}", gone in "[a-z]{1,9}", after in "[a-z]{0,3}", at in 0usize..9, end in 0usize..9) {
            let text = [&*before, &*gone, &*after].concat();
            let extent = before.len()..before.len() + gone.len();
            let (at, end) = (at.min(gone.len() - 1), end.min(gone.len()));
            let inside = extent.start + at..extent.start + end.max(at);
            let changes = [(extent.clone(), b"-".to_vec()), (inside, b"!".to_vec())];
            prop_assert_eq!(splice(text.as_bytes(), &changes), [&*before, "-", &*after].concat().into_bytes());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = pick(&bytes, NAMES);
        }
    }
}
