//! A JSON list inside of a request, read in place: its items, and the changes that take some of them out.

use std::ops::Range;

use serde_json::value::RawValue;

/// The items of a list, as written; none if it is no list.
pub(super) fn items(list: &str) -> Vec<&str> {
    let raw: Vec<&RawValue> =
        if list.starts_with('[') { serde_json::from_str(list).unwrap_or_default() } else { Vec::new() };
    raw.into_iter().map(RawValue::get).collect()
}

/// The place of a part of a text.
pub(super) fn place(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    start..start + part.len()
}

/// The changes that remove items of a list, each with one comma.
pub(super) fn removals(text: &str, items: &[&str], is_removed: &[bool]) -> Vec<(Range<usize>, Vec<u8>)> {
    let mut changes = Vec::new();
    // The end of the item before, once one is kept.
    let mut kept_until = None;
    let places: Vec<Range<usize>> = items.iter().map(|item| place(text, item)).collect();
    for (index, (place, removed)) in places.iter().zip(is_removed).enumerate() {
        let next = places.get(index + 1).map_or(place.end, |next| next.start);
        match (removed, kept_until) {
            (false, _) => kept_until = Some(place.end),
            (true, None) => changes.push((place.start..next, Vec::new())),
            (true, Some(before)) => {
                changes.push((before..place.end, Vec::new()));
                kept_until = Some(place.end);
            }
        }
    }
    changes
}
