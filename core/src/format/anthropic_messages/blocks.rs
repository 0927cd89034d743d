//! The content blocks of a request's messages, read in place: what the gateway has to know about them, and the reasoning
//! of other lanes, which is taken out.
//!
//! Blocks are recognised by their place, not by their text: the input of a tool may look like anything. A part that is not
//! as the format wants it has no blocks; the provider rejects it.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::conversation::carrier::{self, Blob, Kind, Maker};
use crate::format::body::json_text;
use crate::format::list::{items, place, removals};
use crate::format::size::Images;
use crate::json::members;

/// The depth to which lists of blocks are searched: a tool result has a list, and a document in it may have another one.
const DEPTH: u8 = 3;

/// A block.
#[derive(Deserialize)]
pub struct Block<'a> {
    /// The type.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CacheControl<'a> {
    #[serde(borrow, default)]
    ttl: Option<Cow<'a, str>>,
}

impl Block<'_> {
    /// The bytes of an image that is embedded in the request; 0 for any other block.
    fn image_bytes(&self) -> usize {
        let data = || {
            let [data] = members::pick(self.source?.get().as_bytes(), &["data"]).ok()?;
            Some(data?.value.len())
        };
        if self.kind == "image" { data().unwrap_or(0) } else { 0 }
    }

    /// The lifetime in the prompt cache that the block asks for, if it states one.
    pub fn cache_ttl(&self) -> Option<Cow<'_, str>> {
        serde_json::from_str::<CacheControl<'_>>(self.cache_control?.get()).ok()?.ttl
    }
}

/// Passes each block of the messages to `visit`, also those in tool results.
pub fn each<'a>(messages: &'a str, visit: &mut impl FnMut(&Block<'a>)) {
    for content in items(messages).into_iter().filter_map(content_of) {
        each_of(content, DEPTH, visit);
    }
}

fn each_of<'a>(content: &'a str, depth: u8, visit: &mut impl FnMut(&Block<'a>)) {
    for item in items(content) {
        let Ok(block) = serde_json::from_str::<Block<'a>>(item) else { continue };
        visit(&block);
        if let (Some(content), Some(depth)) = (block.content, depth.checked_sub(1)) {
            each_of(content.get(), depth, visit);
        }
    }
}

/// The content of a message, as written.
fn content_of(message: &str) -> Option<&str> {
    serde_json::from_str::<Message<'_>>(message).ok()?.content.map(RawValue::get)
}

/// The parts of messages that are not text.
pub(super) struct Media {
    /// The images.
    pub(super) images: Images,
    /// `true` if there are documents, whose tokens do not follow from their bytes.
    pub(super) has_documents: bool,
}

/// Counts what is not text.
pub(super) fn media(messages: &str) -> Media {
    let mut media = Media { images: Images { count: 0, bytes: 0 }, has_documents: false };
    let has = |word: &[u8]| memmem::find(messages.as_bytes(), word).is_some();
    if !has(b"\"image\"") && !has(b"\"document\"") {
        return media;
    }
    each(messages, &mut |block| {
        media.images.count += usize::from(block.kind == "image");
        media.images.bytes += block.image_bytes();
        media.has_documents |= block.kind == "document";
    });
    media
}

/// Returns `true` if the last message has the results of tools.
pub(super) fn end_with_results(messages: &str) -> bool {
    let blocks = items(messages).pop().and_then(content_of).map(items).unwrap_or_default();
    blocks
        .into_iter()
        .filter_map(|block| serde_json::from_str::<Block<'_>>(block).ok())
        .any(|block| block.kind == "tool_result")
}

/// The changes to messages that an upstream of this format needs because of reasoning that the gateway has carried from
/// another format ([`carrier`]): each a place in the text, and what comes there.
///
/// A lane gets its own blob back as it was. The reasoning of every other lane is taken out; a message that had nothing
/// else goes as a whole. Without a lane, all reasoning is taken out, from any lane.
pub(super) fn without_reasoning(messages: &str, lane: Option<Maker>) -> Vec<(Range<usize>, Vec<u8>)> {
    let mut changes = Vec::new();
    let sign = if lane.is_some() { carrier::MARK } else { "thinking\"" };
    if memmem::find(messages.as_bytes(), sign.as_bytes()).is_none() {
        return changes;
    }
    let all = items(messages);
    let mut is_empty = Vec::with_capacity(all.len());
    for message in &all {
        let blocks = content_of(message).map(items).unwrap_or_default();
        let carried: Vec<_> = blocks.iter().map(|block| Carried::of(block, lane)).collect();
        let is_foreign: Vec<bool> =
            carried.iter().map(|carried| matches!(carried, Carried::Foreign)).collect();
        let goes = !is_foreign.is_empty() && is_foreign.iter().all(|foreign| *foreign);
        is_empty.push(goes);
        if goes {
            continue;
        }
        changes.extend(removals(messages, &blocks, &is_foreign));
        changes.extend(carried.into_iter().filter_map(|carried| match carried {
            Carried::Own(value, data) => Some((place(messages, value), json_text(&data))),
            Carried::Foreign | Carried::Nothing => None,
        }));
    }
    changes.extend(removals(messages, &all, &is_empty));
    changes
}

/// The blob that a block carries for the gateway.
enum Carried<'a> {
    /// Nothing.
    Nothing,
    /// The reasoning of another lane, or what this lane does not want back.
    Foreign,
    /// A blob of this lane: the value that holds it, as written, and the bare blob.
    Own(&'a str, String),
}

#[derive(Deserialize)]
struct Reasoning<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    signature: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl<'a> Carried<'a> {
    fn of(block: &'a str, lane: Option<Maker>) -> Carried<'a> {
        let Ok(reasoning) = serde_json::from_str::<Reasoning<'a>>(block) else { return Carried::Nothing };
        let (value, own) = match &*reasoning.kind {
            "thinking" => (reasoning.signature, Kind::Signature),
            "redacted_thinking" => (reasoning.data, Kind::Redacted),
            _ => return Carried::Nothing,
        };
        let Some(lane) = lane else { return Carried::Foreign };
        let Some(value) = value.map(RawValue::get) else { return Carried::Nothing };
        let text = serde_json::from_str::<Cow<'_, str>>(value).unwrap_or_default();
        if !text.starts_with(carrier::MARK) {
            return Carried::Nothing;
        }
        match Blob::read(&text) {
            Some(Blob { kind, maker, data }) if kind == own && maker == lane => Carried::Own(value, data),
            _ => Carried::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn kinds(messages: &Value) -> Vec<String> {
        let mut kinds = Vec::new();
        each(&messages.to_string(), &mut |block| kinds.push(block.kind.clone().into_owned()));
        kinds
    }

    #[test]
    fn blocks_are_found_at_their_places_alone() {
        let image = json!({"type": "image", "source": {"type": "base64", "data": "AAAA"}});
        let messages = json!([
            {"role": "user", "content": "{\"type\":\"image\"}"},
            {"role": "assistant", "content": [{"type": "tool_use", "input": {"content": [image]}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": [image, {"type": "text"}]}, 7, image]},
            "odd", {"content": 7}, {},
        ]);
        assert_eq!(kinds(&messages), ["tool_use", "tool_result", "image", "text", "image"]);
        let Media { images, has_documents } = media(&messages.to_string());
        assert_eq!((images.count, images.bytes, has_documents), (2, 12, false));
        let document =
            json!([{"content": [{"type": "document", "source": {"type": "base64", "data": "AAAA"}}]}]);
        assert!(media(&document.to_string()).has_documents);
        for odd in ["", "{", "7", "[", "[{]", r#"[{"content":[{"type":7}]}]"#] {
            each(odd, &mut |_| panic!("{odd}"));
        }
    }

    fn applied(messages: &str, lane: Option<Maker>) -> String {
        let mut changes = without_reasoning(messages, lane);
        changes.sort_by_key(|(place, _)| place.start);
        String::from_utf8(members::splice(messages.as_bytes(), &changes)).unwrap()
    }

    fn blob(kind: Kind, maker: Maker) -> String {
        Blob { kind, maker, data: "da/ta+=".into() }.to_text()
    }

    #[test]
    fn a_lane_gets_its_own_blobs_and_no_others() {
        let (own, other) = (Maker::of("a", "m"), Maker::of("b", "m"));
        let block = |kind, maker| match kind {
            Kind::Redacted => json!({"type": "redacted_thinking", "data": blob(kind, maker)}),
            kind => json!({"type": "thinking", "thinking": "t", "signature": blob(kind, maker)}),
        };
        let text = json!({"type": "text", "text": "gatehouse:x"});
        let native = json!({"type": "thinking", "thinking": "t", "signature": "ErUB"});
        let assistant = |blocks: &[&Value]| json!({"role": "assistant", "content": blocks});
        let (foreign, plain) = (block(Kind::Signature, other), block(Kind::Plain, own));
        for (before, after) in [
            (assistant(&[&native, &text]), Some(assistant(&[&native, &text]))),
            (assistant(&[&foreign, &text]), Some(assistant(&[&text]))),
            (assistant(&[&text, &foreign]), Some(assistant(&[&text]))),
            (
                assistant(&[&foreign, &plain, &text, &foreign, &plain, &native]),
                Some(assistant(&[&text, &native])),
            ),
            (assistant(&[&foreign, &block(Kind::Redacted, other)]), None),
            (
                assistant(&[&block(Kind::Signature, own), &block(Kind::Redacted, own)]),
                Some(assistant(&[
                    &json!({"type": "thinking", "thinking": "t", "signature": "da/ta+="}),
                    &json!({"type": "redacted_thinking", "data": "da/ta+="}),
                ])),
            ),
        ] {
            let user = json!({"role": "user", "content": "a"});
            let messages = json!([user, before, user]).to_string();
            let expected = match after {
                Some(after) => json!([user, after, user]),
                None => json!([user, user]),
            };
            assert_eq!(applied(&messages, Some(own)), expected.to_string(), "{messages}");
        }
        let all = json!([assistant(&[&native, &foreign, &text]), assistant(&[&native])]);
        assert_eq!(applied(&all.to_string(), None), json!([assistant(&[&text])]).to_string());
        let without = json!([assistant(&[&text]), {"role": "user", "content": "thinking"}]).to_string();
        assert_eq!(applied(&without, None), without);
    }

    proptest! {
        /// Whatever is removed from a list, the rest is the list without it.
        #[test]
        fn removing_items_leaves_the_others(
            removed in proptest::collection::vec(any::<bool>(), 0..8),
            spaces in any::<bool>(),
        ) {
            let all: Vec<usize> = (0..removed.len()).collect();
            let mut text = serde_json::to_string(&all).unwrap();
            if spaces {
                text = text.replace(',', " , ").replace('[', "[ ").replace(']', " ]");
            }
            let mut changes = removals(&text, &items(&text), &removed);
            changes.sort_by_key(|(place, _)| place.start);
            let rest = members::splice(text.as_bytes(), &changes);
            let expected: Vec<usize> = all.into_iter().filter(|index| !removed[*index]).collect();
            prop_assert_eq!(serde_json::from_slice::<Vec<usize>>(&rest).unwrap(), expected);
        }
    }
}
