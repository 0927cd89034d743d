//! Keys of providers in the database: rows, changes and their checks. Keys in Worker secrets have no rows.
//!
//! A row has the key only as a ciphertext of AES-256-GCM, whose associated data names the provider and the id, so that
//! the ciphertext of one row opens in no other. This module neither encrypts nor stores: the Worker does.

use serde::Serialize;
use serde_json::Value;

use super::Secret;
use super::format::public_id;
use super::master::Fault;
use crate::error::{Code, Error};
use crate::json::Object;

/// The number of keys that Worker secrets can have for a provider: they have the places below, stored keys those from
/// here on.
pub const FIRST_PLACE: u8 = 16;
/// The largest number of stored keys of one provider.
pub const MAX_OF_PROVIDER: usize = 100;
/// The largest number of stored keys of all providers, so that an isolate reads and decrypts all of them at once.
pub const MAX_KEYS: usize = 1_000;
/// The longest key, in bytes: it has to fit into a header.
const MAX_LENGTH: usize = 4_096;
/// The longest label, in characters.
const MAX_LABEL: usize = 64;
/// The largest weight.
const MAX_WEIGHT: u64 = 1_000;
/// The shortest key whose last characters are shown.
const SHOWN_FROM: usize = 20;

/// A stored key, without the key itself: a row of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredKey {
    /// `pkey_` and 16 hexadecimal digits.
    pub id: String,
    /// The provider.
    pub provider: String,
    /// The operator's name of it.
    pub label: String,
    /// The end of the key, as far as it may be shown.
    pub mask: String,
    /// Its share of the calls, relative to the other keys of the provider: 1 to 1000.
    pub weight: u16,
    /// 0 if no call uses it.
    pub enabled: u8,
    /// Its index among the keys of the provider, from [`FIRST_PLACE`]: lanes are named by it, so it is not used again
    /// soon.
    pub place: u8,
    /// The nonce and the ciphertext, as hexadecimal digits.
    pub sealed: String,
    /// The id of the master key that it is encrypted with.
    pub sealed_with: String,
    /// The time of its creation, in milliseconds since 1970.
    pub created_ms: u64,
    /// The time of the last change, in milliseconds since 1970.
    pub changed_ms: u64,
    /// The label of the operator key that made it.
    pub changed_by: String,
    /// The time of its deletion, in milliseconds since 1970; only its place is left then.
    pub deleted_ms: Option<u64>,
}

/// A stored key with its secret, or why it cannot be read.
#[derive(Clone, Debug)]
pub struct OpenKey {
    /// The row.
    pub stored: StoredKey,
    /// The key.
    pub secret: Result<Secret, Fault>,
}

impl StoredKey {
    /// Reads a row of the database.
    pub fn from_row(row: &Value) -> Option<StoredKey> {
        let text = |name: &str| row.get(name)?.as_str().map(str::to_owned);
        let number = |name: &str| row.get(name)?.as_u64();
        let small = |name: &str| u8::try_from(number(name)?).ok();
        Some(StoredKey {
            id: text("id")?,
            provider: text("provider")?,
            label: text("label")?,
            mask: text("mask")?,
            weight: u16::try_from(number("weight")?).ok()?,
            enabled: small("enabled")?,
            place: small("place")?,
            sealed: text("sealed")?,
            sealed_with: text("sealed_with")?,
            created_ms: number("created_ms")?,
            changed_ms: number("changed_ms")?,
            changed_by: text("changed_by")?,
            deleted_ms: number("deleted_ms"),
        })
    }

    /// Returns `true` if calls may use it.
    pub fn is_enabled(&self) -> bool {
        self.enabled != 0
    }

    /// Leaves what a row has after its deletion: its ciphertext is removed, its place stays.
    pub fn delete(&mut self, at_ms: u64) {
        self.sealed.clear();
        self.mask.clear();
        self.enabled = 0;
        self.deleted_ms = Some(at_ms);
    }

    /// The data that its ciphertext is bound to.
    pub fn bound_to(&self) -> String {
        bound_to(&self.provider, &self.id)
    }

    /// Its facts for the audit trail.
    pub fn note(&self) -> Note<'_> {
        let StoredKey { label, mask, weight, .. } = self;
        Note { label, mask, weight: *weight, enabled: self.is_enabled() }
    }
}

/// The data that the ciphertext of a key is bound to.
pub fn bound_to(provider: &str, id: &str) -> String {
    format!("gatehouse provider key\n{provider}\n{id}")
}

/// A key, as the audit trail has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Note<'a> {
    /// The operator's name of it.
    pub label: &'a str,
    /// The end of the key.
    pub mask: &'a str,
    /// Its weight.
    pub weight: u16,
    /// Calls may use it.
    pub enabled: bool,
}

/// The end of a key, by which operators recognise it: four characters of a long key, none of a short one.
pub fn mask(secret: &Secret) -> String {
    let text = secret.expose();
    let end = text.len().checked_sub(4).filter(|_| text.len() >= SHOWN_FROM);
    format!("…{}", end.and_then(|end| text.get(end..)).unwrap_or_default())
}

/// A key to store: the body of `POST /v0/providers/{name}/keys`.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The key.
    pub secret: Secret,
    /// The operator's name of it.
    pub label: Option<String>,
    /// Its weight.
    pub weight: u16,
}

impl NewKey {
    /// Reads a body. No error repeats a part of the key.
    pub fn read(body: &[u8]) -> Result<NewKey, Error> {
        let object = Object::read(body)?;
        object.only(&["key", "label", "weight"])?;
        let text = object.required_string("key")?.trim();
        let fault = if public_id(text).is_ok() {
            "'key' is a key of this gateway; send the key that the provider gave you"
        } else if text.is_empty()
            || text.len() > MAX_LENGTH
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            "'key' must be 1 to 4096 visible ASCII characters without white space"
        } else {
            ""
        };
        match Secret::new(text) {
            Some(secret) if fault.is_empty() => {
                Ok(NewKey { secret, label: label(&object)?, weight: weight(&object)?.unwrap_or(1) })
            }
            _ => Err(invalid("key", fault)),
        }
    }
}

/// A change of a stored key: the body of `PATCH /v0/providers/{name}/keys/{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    label: Option<String>,
    weight: Option<u16>,
    enabled: Option<bool>,
}

impl KeyChange {
    /// Reads a body, which must change something.
    pub fn read(body: &[u8]) -> Result<KeyChange, Error> {
        let object = Object::read(body)?;
        if object.has("key") {
            let message = "'key' cannot be changed: add the new key, then delete this one";
            return Err(Error::new(Code::UnknownMember, message).with_param("key"));
        }
        object.only(&["label", "weight", "enabled"])?;
        let change = KeyChange {
            label: label(&object)?,
            weight: weight(&object)?,
            enabled: object.boolean("enabled")?,
        };
        if change == (KeyChange { label: None, weight: None, enabled: None }) {
            let message = "The body changes nothing: set 'label', 'weight' or 'enabled'";
            return Err(Error::new(Code::MissingMember, message));
        }
        Ok(change)
    }

    /// Makes the change.
    pub fn apply(&self, key: &mut StoredKey) {
        if let Some(label) = &self.label {
            key.label.clone_from(label);
        }
        key.weight = self.weight.unwrap_or(key.weight);
        key.enabled = self.enabled.map_or(key.enabled, u8::from);
    }
}

fn label(object: &Object) -> Result<Option<String>, Error> {
    let Some(label) = object.string("label")?.map(str::trim) else { return Ok(None) };
    let is_valid = (1..=MAX_LABEL).contains(&label.chars().count()) && !label.chars().any(char::is_control);
    if is_valid {
        return Ok(Some(label.to_owned()));
    }
    Err(invalid("label", "'label' must be 1 to 64 characters without control characters"))
}

fn weight(object: &Object) -> Result<Option<u16>, Error> {
    let Some(weight) = object.integer("weight")? else { return Ok(None) };
    match u16::try_from(weight) {
        Ok(small) if (1..=MAX_WEIGHT).contains(&weight) => Ok(Some(small)),
        _ => Err(invalid("weight", "'weight' must be a whole number from 1 to 1000")),
    }
}

fn invalid(name: &'static str, message: &'static str) -> Error {
    Error::new(Code::InvalidValue, message).with_param(name)
}

/// The place of the next key of a provider: one that no key has had, otherwise that of the key that was deleted first.
/// A place is not used again at once, because isolates still know the failures of the key that had it.
///
/// `places` has each place that is or was in use, with the time of the deletion of its key in milliseconds since 1970.
pub fn next_place(places: &[(u8, Option<u64>)]) -> Result<u8, Error> {
    let full = || {
        let message =
            format!("The provider has {MAX_OF_PROVIDER} stored keys, which is the most; delete one first");
        Error::new(Code::InvalidValue, message)
    };
    if places.iter().filter(|(_, deleted_ms)| deleted_ms.is_none()).count() >= MAX_OF_PROVIDER {
        return Err(full());
    }
    match places.iter().map(|(place, _)| *place).max() {
        None => Ok(FIRST_PLACE),
        Some(last) if last < u8::MAX => Ok(last + 1),
        Some(_) => {
            let deleted = places.iter().filter_map(|(place, deleted_ms)| Some(((*deleted_ms)?, *place)));
            deleted.min().map(|(_, place)| place).ok_or_else(full)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> StoredKey {
        let row = serde_json::json!({"id": "pkey_1", "provider": "groq", "label": "a", "mask": "…", "weight": 2,
            "enabled": 1, "place": 16, "sealed": "00", "sealed_with": "11", "created_ms": 1, "changed_ms": 2,
            "changed_by": "ops"});
        StoredKey::from_row(&row).unwrap()
    }

    #[test]
    fn errors_name_the_field_and_repeat_no_key() {
        let gateway_key = super::super::mint(&[7; super::super::MINT_BYTES]);
        for (body, param) in [
            (r#"{"label":"a"}"#.to_owned(), "key"),
            (r#"{"key":"sk hidden"}"#.to_owned(), "key"),
            (r#"{"key":"sk-hidden\u00e9"}"#.to_owned(), "key"),
            (format!(r#"{{"key":"{}"}}"#, "hidden".repeat(1000)), "key"),
            (format!(r#"{{"key":"{gateway_key}"}}"#), "key"),
            (r#"{"key":"sk-hidden","label":""}"#.to_owned(), "label"),
            (r#"{"key":"sk-hidden","label":"a\u0000"}"#.to_owned(), "label"),
            (r#"{"key":"sk-hidden","weight":0}"#.to_owned(), "weight"),
            (r#"{"key":"sk-hidden","weight":1001}"#.to_owned(), "weight"),
            (r#"{"key":"sk-hidden","wait":1}"#.to_owned(), "wait"),
        ] {
            let error = NewKey::read(body.as_bytes()).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{body}");
            assert!(!error.message.contains("hidden") && !error.message.contains(&gateway_key), "{error:?}");
        }
        let key = NewKey::read(br#"{"key":" sk-1 ","label":" main "}"#).unwrap();
        assert_eq!((key.secret.expose(), key.label.as_deref(), key.weight), ("sk-1", Some("main"), 1));
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        for (body, code) in [("{}", "missing_member"), (r#"{"key":"x"}"#, "unknown_member")] {
            assert_eq!(KeyChange::read(body.as_bytes()).unwrap_err().code(), Some(code));
        }
        let mut changed = stored();
        KeyChange::read(br#"{"enabled":false}"#).unwrap().apply(&mut changed);
        assert_eq!(changed, StoredKey { enabled: 0, ..stored() });
        let mut changed = stored();
        KeyChange::read(br#"{"weight":9,"label":"b"}"#).unwrap().apply(&mut changed);
        assert_eq!((changed.weight, changed.label.as_str(), changed.is_enabled()), (9, "b", true));
    }

    #[test]
    fn a_mask_shows_at_most_four_characters_of_a_long_key() {
        let shown = |text: &str| mask(&Secret::new(text).unwrap());
        assert_eq!(shown("sk-0123456789abcdefWXYZ"), "…WXYZ");
        assert_eq!(shown("sk-provider-secret"), "…");
    }

    #[test]
    fn places_are_not_used_again_soon() {
        assert_eq!(next_place(&[]).unwrap(), FIRST_PLACE);
        assert_eq!(next_place(&[(16, None), (17, Some(5))]).unwrap(), 18);
        assert_eq!(next_place(&[(255, None), (17, Some(5)), (20, Some(3))]).unwrap(), 20);
        let full: Vec<_> = (FIRST_PLACE..FIRST_PLACE + 100).map(|place| (place, None)).collect();
        assert!(next_place(&full).unwrap_err().message.contains("100 stored keys"));
        let mut key = stored();
        key.delete(7);
        assert_eq!((key.sealed.as_str(), key.enabled, key.deleted_ms, key.place), ("", 0, Some(7), 16));
    }

    #[test]
    fn a_ciphertext_is_bound_to_its_provider_and_its_id() {
        assert_eq!(stored().bound_to(), "gatehouse provider key\ngroq\npkey_1");
        assert_ne!(bound_to("a", "b"), bound_to("b", "a"));
    }
}
