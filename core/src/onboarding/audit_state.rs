//! The keys, run-time settings and keys of providers as the audit trail states them, compared with those of the tables: a
//! change that was made in the tables alone, such as a revoked key that is restored, shows here though the chain is intact.
//! The ciphertexts of providers' keys are not compared, because the trail does not have them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::json;

/// The settings that are compared. Entries of earlier versions state fewer of them.
const SETTINGS: [&str; 7] = ["disabled", "policies", "models", "endpoints", "limits", "role", "expires_ms"];

/// The facts about a key of a provider that are compared: those of its note in the trail.
const OF_PROVIDER_KEY: [&str; 4] = ["label", "mask", "weight", "enabled"];

/// All keys and settings of a trail.
#[derive(Debug, Default)]
pub struct Stated {
    keys: BTreeMap<String, StatedKey>,
    /// The run-time settings, by table and name.
    settings: BTreeMap<(String, String), Value>,
    /// The keys of providers, by provider and id: the last note; `None` of a deleted key.
    provider_keys: BTreeMap<(String, String), Option<Value>>,
}

#[derive(Debug, Default)]
struct StatedKey {
    name: String,
    is_revoked: bool,
    /// Each setting as the last entry that states it has it.
    settings: BTreeMap<&'static str, Value>,
    /// Every secret that it has had, by public id, with its noted digest if its entry states that.
    secrets: BTreeMap<String, Option<String>>,
}

/// A row of the table of keys; lists are JSON texts.
#[derive(Clone, Debug, Deserialize)]
pub struct KeyRow {
    id: String,
    name: String,
    disabled: u8,
    policies: String,
    models: Option<String>,
    endpoints: Option<String>,
    limits: String,
    role: String,
    expires_ms: Option<u64>,
    revoked_ms: Option<u64>,
}

/// A row of the table of secrets.
#[derive(Clone, Debug, Deserialize)]
pub struct SecretRow {
    key_id: String,
    public_id: String,
    digest: String,
}

/// A row of the table of run-time settings.
#[derive(Clone, Debug, Deserialize)]
pub struct SettingRow {
    kind: String,
    name: String,
    value: String,
}

/// A row of the table of providers' keys.
#[derive(Clone, Debug, Deserialize)]
pub struct ProviderKeyRow {
    provider: String,
    id: String,
    label: String,
    mask: String,
    weight: u16,
    enabled: u8,
    deleted_ms: Option<u64>,
}

/// The tables that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Issued keys and their secrets.
    ApiKeys,
    /// Run-time settings.
    Settings,
    /// Keys of providers.
    ProviderKeys,
}

impl Table {
    /// The beginning of a sentence about a row that was changed without an entry.
    pub fn changed(self) -> &'static str {
        match self {
            Table::ApiKeys => "the tables of keys were changed without it: the key",
            Table::Settings => "the table of run-time settings was changed without it: the setting",
            Table::ProviderKeys => "the table of providers' keys was changed without it: the key",
        }
    }
}

/// A row of which the tables say something else than the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The table of the row.
    pub table: Table,
    /// The id of an issued key; `None` for another row.
    pub key_id: Option<String>,
    /// The name of a key, the table and name of a setting, or the provider and id of its key.
    pub name: String,
    /// The differences.
    pub what: String,
}

#[derive(Deserialize)]
struct EntryText {
    action: String,
    subject: String,
    detail: Map<String, Value>,
}

impl Stated {
    /// Follows the trail by the text of an entry.
    pub fn follow(&mut self, text: &str) {
        let Ok(EntryText { action, subject, detail }) = json::read::<EntryText>(text) else { return };
        if action.starts_with("setting.") {
            self.follow_setting(&detail);
            return;
        }
        if action.starts_with("provider_key.") {
            self.follow_provider_key(&detail);
            return;
        }
        let Some(id) = detail.get("key_id").and_then(Value::as_str) else { return };
        let key = self.keys.entry(id.to_owned()).or_default();
        // The subject of the approval of a request is the request.
        key.name = detail.get("name").and_then(Value::as_str).map_or(subject, str::to_owned);
        if matches!(&*action, "key.created" | "request.approved") {
            key.settings.insert("disabled", false.into());
        }
        for name in SETTINGS {
            if let Some(value) = detail.get(name) {
                key.settings.insert(name, value.clone());
            }
        }
        key.is_revoked |= action == "key.revoked";
        // A first credential is an object in the entry, a later one stands in it.
        let opening = detail.get("opening").and_then(Value::as_object).unwrap_or(&detail);
        let text = |name: &str| opening.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(public_id) = text("public_id") {
            key.secrets.insert(public_id, text("sha256"));
        }
    }

    fn follow_setting(&mut self, detail: &Map<String, Value>) {
        let text = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(table), Some(name)) = (text("table"), text("name")) else { return };
        match detail.get("value").filter(|value| !value.is_null()) {
            Some(value) => drop(self.settings.insert((table, name), value.clone())),
            None => drop(self.settings.remove(&(table, name))),
        }
    }

    fn follow_provider_key(&mut self, detail: &Map<String, Value>) {
        let text = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(provider), Some(id)) = (text("provider"), text("id")) else { return };
        let now = detail.get("now").filter(|note| note.is_object()).cloned();
        self.provider_keys.insert((provider, id), now);
    }

    /// The keys of providers of which the table says something else. The row of a deleted key goes when its place is used
    /// again, so its absence is no difference.
    pub fn compare_provider_keys(&self, rows: &[ProviderKeyRow]) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut differs = |(provider, id): (&str, &str), what: String| {
            let name = format!("{provider}/{id}");
            found.push(Difference { table: Table::ProviderKeys, key_id: None, name, what });
        };
        let live = self.provider_keys.iter().filter(|(_, note)| note.is_some());
        let mut rest: BTreeSet<_> = live.map(|(key, _)| key).collect();
        for row in rows {
            let key = (row.provider.clone(), row.id.clone());
            rest.remove(&key);
            let name = (row.provider.as_str(), row.id.as_str());
            match (self.provider_keys.get(&key), row.deleted_ms.is_some()) {
                (None, _) => differs(name, "is in the table, but no entry added it".to_owned()),
                (Some(None), false) => differs(name, "was deleted, but is usable in the table".to_owned()),
                (Some(Some(_)), true) => differs(name, "is deleted in the table alone".to_owned()),
                (Some(None), true) => {}
                (Some(Some(note)), false) => {
                    for fact in OF_PROVIDER_KEY {
                        if note.get(fact).is_some_and(|stated| *stated != row.fact(fact)) {
                            differs(name, format!("has another '{fact}' in the table than its last entry"));
                        }
                    }
                }
            }
        }
        for (provider, id) in rest {
            differs((provider, id), "is in the trail, but not in the table".to_owned());
        }
        found
    }

    /// The settings of which the table says something else.
    pub fn compare_settings(&self, rows: &[SettingRow]) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut differs = |(table, name): (&str, &str), what: &str| {
            let name = format!("{table}.{name}");
            found.push(Difference { table: Table::Settings, key_id: None, name, what: what.to_owned() });
        };
        let mut rest: Vec<_> = self.settings.keys().collect();
        for SettingRow { kind, name, value } in rows {
            rest.retain(|(table, known)| (table, known) != (kind, name));
            match self.settings.get(&(kind.clone(), name.clone())) {
                None => differs((kind, name), "is in the table, but no entry set it"),
                Some(stated) if serde_json::from_str::<Value>(value).ok().as_ref() != Some(stated) => {
                    differs((kind, name), "has another value in the table than its last entry");
                }
                Some(_) => {}
            }
        }
        for (table, name) in rest {
            differs((table, name), "is in the trail, but not in the table");
        }
        found
    }

    /// The keys of which the tables say something else.
    pub fn compare(&self, rows: &[KeyRow], secrets: &[SecretRow]) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut differs = |id: &str, name: &str, what: String| {
            let (key_id, name) = (Some(id.to_owned()), name.to_owned());
            found.push(Difference { table: Table::ApiKeys, key_id, name, what });
        };
        let rows: BTreeMap<&str, &KeyRow> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
        for (id, row) in &rows {
            let Some(key) = self.keys.get(*id) else {
                differs(id, &row.name, "is in the table, but no entry made it".to_owned());
                continue;
            };
            match (key.is_revoked, row.revoked_ms.is_some()) {
                (true, false) => differs(id, &row.name, "was revoked, but works in the table".to_owned()),
                (false, true) => differs(id, &row.name, "is revoked in the table alone".to_owned()),
                _ => {}
            }
            if key.name != row.name {
                differs(id, &row.name, format!("has the name '{}' in the trail", key.name));
            }
            for name in SETTINGS {
                let stated = key.settings.get(name);
                if stated.is_some_and(|stated| *stated != row.setting(name)) {
                    differs(id, &row.name, format!("has another '{name}' in the table than its last entry"));
                }
            }
        }
        for (id, key) in &self.keys {
            if !rows.contains_key(id.as_str()) {
                differs(id, &key.name, "is in the trail, but not in the table".to_owned());
            }
        }
        for SecretRow { key_id, public_id, digest } in secrets {
            let key = self.keys.get(key_id);
            let name = key.map_or("", |key| &key.name);
            let what = match key.and_then(|key| Some((key, key.secrets.get(public_id)?))) {
                None => "that no entry made",
                Some((key, _)) if key.is_revoked => "though it was revoked",
                Some((_, Some(stated))) if *stated != noted_digest(digest) => {
                    "with another digest than its entry"
                }
                Some(_) => continue,
            };
            differs(key_id, name, format!("has the secret {public_id} {what}"));
        }
        found
    }
}

/// The digest of a secret as the trail notes it: the SHA-256 of its stored digest in hexadecimal, so that operators who
/// read the trail do not see what keys are compared with.
pub fn noted_digest(digest: &str) -> String {
    hex::encode(Sha256::digest(digest))
}

impl KeyRow {
    fn setting(&self, name: &str) -> Value {
        // A value that cannot be read differs from everything that an entry states.
        let list = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from("unreadable"));
        match name {
            "disabled" => (self.disabled != 0).into(),
            "policies" => list(&self.policies),
            "models" => self.models.as_deref().map_or(Value::Null, list),
            "endpoints" => self.endpoints.as_deref().map_or(Value::Null, list),
            "limits" => list(&self.limits),
            "role" => self.role.as_str().into(),
            _ => self.expires_ms.map_or(Value::Null, Value::from),
        }
    }
}

impl ProviderKeyRow {
    fn fact(&self, name: &str) -> Value {
        match name {
            "label" => self.label.as_str().into(),
            "mask" => self.mask.as_str().into(),
            "weight" => self.weight.into(),
            _ => (self.enabled != 0).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stated() -> Stated {
        let mut keys = Stated::default();
        for (action, subject, detail) in [
            (
                "key.created",
                "a",
                json!({"key_id": "1", "policies": ["p"], "models": null, "endpoints": null,
                "expires_ms": 7, "disabled": false, "opening": {"public_id": "gw_a", "sha256": noted_digest("0a")}}),
            ),
            // As an earlier version wrote it.
            (
                "request.approved",
                "b",
                json!({"key_id": "2", "policies": [], "opening": {"delivery": "claim"}}),
            ),
            ("key.claimed", "b", json!({"key_id": "2", "public_id": "gw_b"})),
            (
                "key.updated",
                "a",
                json!({"key_id": "1", "disabled": true, "policies": ["q"], "models": ["m"],
                "endpoints": null, "expires_ms": null, "was": {"disabled": false, "policies": ["p"]}}),
            ),
            ("key.created", "c", json!({"key_id": "3", "policies": [], "opening": {"public_id": "gw_c"}})),
            ("key.revoked", "c", json!({"key_id": "3", "was": {"disabled": false}})),
            ("request.deleted", "kreq_1", json!({})),
        ] {
            keys.follow(
                &json!({"seq": 1, "action": action, "subject": subject, "detail": detail}).to_string(),
            );
        }
        keys
    }

    fn rows() -> (Value, Value) {
        let keys = json!([
            {"id": "1", "name": "a", "disabled": 1, "policies": "[\"q\"]", "models": "[\"m\"]", "endpoints": null, "limits": "{}", "role": "read",
                "expires_ms": null, "revoked_ms": null},
            {"id": "2", "name": "b", "disabled": 0, "policies": "[]", "models": "[\"x\"]", "endpoints": null, "limits": "{}", "role": "read",
                "expires_ms": 9, "revoked_ms": null},
            {"id": "3", "name": "c", "disabled": 0, "policies": "[]", "models": null, "endpoints": null, "limits": "{}", "role": "read",
                "expires_ms": null, "revoked_ms": 5},
        ]);
        let secrets = json!([
            {"key_id": "1", "public_id": "gw_a", "digest": "0a"},
            {"key_id": "2", "public_id": "gw_b", "digest": "0b"},
        ]);
        (keys, secrets)
    }

    fn differences(change: impl FnOnce(&mut Value, &mut Value)) -> Vec<String> {
        let (mut keys, mut secrets) = rows();
        change(&mut keys, &mut secrets);
        let keys: Vec<KeyRow> = serde_json::from_value(keys).unwrap();
        let secrets: Vec<SecretRow> = serde_json::from_value(secrets).unwrap();
        let found = stated().compare(&keys, &secrets);
        found
            .into_iter()
            .map(|one| format!("{} {} {}", one.key_id.unwrap_or_default(), one.name, one.what))
            .collect()
    }

    #[test]
    fn every_change_of_a_setting_in_the_table_alone_shows() {
        let mut stated = Stated::default();
        for (action, name, value) in [
            ("setting.changed", "a", json!({"expires_days": 1})),
            ("setting.changed", "b", json!({})),
            ("setting.changed", "a", json!({"expires_days": 2})),
            ("setting.removed", "b", Value::Null),
        ] {
            let detail =
                json!({"table": "policies", "name": name, "version": 1, "value": value, "was": null});
            stated.follow(&json!({"action": action, "subject": "s", "detail": detail}).to_string());
        }
        let differences = |rows: Value| {
            let rows: Vec<SettingRow> = serde_json::from_value(rows).unwrap();
            let found = stated.compare_settings(&rows);
            found.into_iter().map(|one| format!("{} {}", one.name, one.what)).collect::<Vec<_>>()
        };
        let row = |name: &str, value: &str| json!({"kind": "policies", "name": name, "value": value});
        assert_eq!(differences(json!([row("a", "{ \"expires_days\": 2 }")])), [""; 0]);
        assert_eq!(
            differences(json!([row("a", "{}"), row("b", "{}")])),
            [
                "policies.a has another value in the table than its last entry",
                "policies.b is in the table, but no entry set it",
            ]
        );
        assert_eq!(differences(json!([])), ["policies.a is in the trail, but not in the table"]);
    }

    #[test]
    fn every_change_of_a_providers_key_in_the_table_alone_shows() {
        let mut stated = Stated::default();
        let note = |weight: u16| json!({"label": "main", "mask": "…abcd", "weight": weight, "enabled": true});
        for (action, id, now) in [
            ("provider_key.added", "pkey_1", note(1)),
            ("provider_key.changed", "pkey_1", note(3)),
            ("provider_key.added", "pkey_2", note(1)),
            ("provider_key.deleted", "pkey_2", Value::Null),
        ] {
            let detail = json!({"provider": "groq", "id": id, "version": 1, "now": now, "was": null});
            stated.follow(&json!({"action": action, "subject": "s", "detail": detail}).to_string());
        }
        let rows = json!([
            {"provider": "groq", "id": "pkey_1", "label": "main", "mask": "…abcd", "weight": 3, "enabled": 1, "deleted_ms": null},
            {"provider": "groq", "id": "pkey_2", "label": "main", "mask": "", "weight": 1, "enabled": 0, "deleted_ms": 7},
        ]);
        let differences = |change: &dyn Fn(&mut Value)| {
            let mut rows = rows.clone();
            change(&mut rows);
            let rows: Vec<ProviderKeyRow> = serde_json::from_value(rows).unwrap();
            let found = stated.compare_provider_keys(&rows);
            found.into_iter().map(|one| format!("{} {}", one.name, one.what)).collect::<Vec<_>>()
        };
        assert_eq!(differences(&|_| {}), [""; 0]);
        assert_eq!(differences(&|rows| drop(rows.as_array_mut().unwrap().pop())), [""; 0]);
        for (fact, value) in
            [("weight", json!(9)), ("label", json!("x")), ("mask", json!("…wxyz")), ("enabled", json!(0))]
        {
            let what = format!("groq/pkey_1 has another '{fact}' in the table than its last entry");
            assert_eq!(differences(&|rows| rows[0][fact] = value.clone()), [what]);
        }
        for (row, name, value, what) in [
            (0, "deleted_ms", json!(5), "groq/pkey_1 is deleted in the table alone"),
            (1, "deleted_ms", Value::Null, "groq/pkey_2 was deleted, but is usable in the table"),
            (1, "id", json!("pkey_3"), "groq/pkey_3 is in the table, but no entry added it"),
        ] {
            assert_eq!(differences(&|rows| rows[row][name] = value.clone()), [what]);
        }
        assert_eq!(
            differences(&|rows| *rows = json!([])),
            ["groq/pkey_1 is in the trail, but not in the table"]
        );
    }

    #[test]
    fn tables_that_are_as_the_trail_states_do_not_differ() {
        assert_eq!(differences(|_, _| {}), [""; 0]);
    }

    #[test]
    fn every_change_of_the_tables_alone_shows() {
        let set = |index: usize, name: &'static str, value: Value| {
            move |keys: &mut Value, _: &mut Value| keys[index][name] = value
        };
        for (found, what) in [
            (differences(set(2, "revoked_ms", Value::Null)), "3 c was revoked, but works in the table"),
            (differences(set(0, "revoked_ms", json!(5))), "1 a is revoked in the table alone"),
            (
                differences(set(0, "disabled", json!(0))),
                "1 a has another 'disabled' in the table than its last entry",
            ),
            (
                differences(set(1, "disabled", json!(1))),
                "2 b has another 'disabled' in the table than its last entry",
            ),
            (
                differences(set(0, "policies", json!("[]"))),
                "1 a has another 'policies' in the table than its last entry",
            ),
            (
                differences(set(0, "models", Value::Null)),
                "1 a has another 'models' in the table than its last entry",
            ),
            (
                differences(set(0, "models", json!("["))),
                "1 a has another 'models' in the table than its last entry",
            ),
            (
                differences(set(0, "expires_ms", json!(8))),
                "1 a has another 'expires_ms' in the table than its last entry",
            ),
            (differences(set(0, "name", json!("z"))), "1 z has the name 'a' in the trail"),
            (
                differences(|keys, _| drop(keys.as_array_mut().unwrap().remove(1))),
                "2 b is in the trail, but not in the table",
            ),
            (differences(|keys, _| keys[0]["id"] = "9".into()), "9 a is in the table, but no entry made it"),
            (
                differences(|_, secrets| secrets[0]["digest"] = "ff".into()),
                "1 a has the secret gw_a with another digest than its entry",
            ),
            (
                differences(|_, secrets| secrets[0]["public_id"] = "gw_x".into()),
                "1 a has the secret gw_x that no entry made",
            ),
            (
                differences(|_, secrets| secrets[0]["key_id"] = "2".into()),
                "2 b has the secret gw_a that no entry made",
            ),
            (
                differences(|_, secrets| {
                    secrets[0] = json!({"key_id": "3", "public_id": "gw_c", "digest": "0c"});
                }),
                "3 c has the secret gw_c though it was revoked",
            ),
        ] {
            assert_eq!(found.first().map(String::as_str), Some(what));
        }
    }
}
