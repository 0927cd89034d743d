//! Settings that operators change while the gateway runs: entries of tables of `gateway.toml`, or a table as a whole, which
//! stand over those of the file.
//!
//! The schema, the checks and their messages are those of [`crate::config`] and [`crate::check`]; this module has none
//! of its own. It applies the stored settings to the configuration of the deployment, and decides whether a change may be
//! made. It neither stores nor reads anything: the Worker's `store::settings` does.

mod freshness;
mod report;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use freshness::{Age, Freshness, HARD_MS, SOFT_MS};
pub use report::{ConfigDocument, Effect, Layers, SettingDocument, config_document, list};

use crate::config::{Alerts, Config, Group, ModelSettings, Policy};
use crate::error::{Code, Error};
use crate::json::Object;
use crate::key::IssuedKey;
use crate::routes::Table;

/// The largest number of settings, so that an isolate reads all of them in one query.
pub const MAX_SETTINGS: usize = 2_000;
/// The number of keys that an error names.
const NAMED: usize = 20;

/// One entry of a table: the body of its `PUT`, and the members that `gateway.toml` has for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Entry {
    /// `[alerts]`
    Alerts(Alerts),
    /// `[policies.NAME]`
    Policy(Policy),
    /// An entry of `[aliases]`
    Alias(Alias),
    /// `[groups.NAME]`
    Group(Group),
    /// `[models."PROVIDER/MODEL"]`
    Model(ModelSettings),
}

/// The target of an alias.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The model, as `provider/model`.
    pub model: String,
}

impl Entry {
    /// Reads the members of an entry; the error has the words of `gateway.toml`.
    pub fn read(table: Table, value: &Value) -> Result<Entry, String> {
        let read = match table {
            Table::Alerts => Alerts::deserialize(value).map(Entry::Alerts),
            Table::Policies => Policy::deserialize(value).map(Entry::Policy),
            Table::Aliases => Alias::deserialize(value).map(Entry::Alias),
            Table::Groups => Group::deserialize(value).map(Entry::Group),
            Table::Models => ModelSettings::deserialize(value).map(Entry::Model),
        };
        read.map_err(|error| error.to_string())
    }

    /// Reads a body of `PUT`.
    pub fn of_body(table: Table, name: &str, body: &[u8]) -> Result<Entry, Error> {
        let value = Object::read(body)?.into_value();
        Entry::read(table, &value).map_err(|what| {
            let code =
                if what.starts_with("unknown field") { Code::UnknownMember } else { Code::InvalidValue };
            Error::new(code, format!("{}: {what}", place(table, name)))
        })
    }

    /// The entry of a configuration; `None` if it has none of this name.
    pub fn of(config: &Config, table: Table, name: &str) -> Option<Entry> {
        match table {
            Table::Alerts => Some(Entry::Alerts(config.alerts.clone())),
            Table::Policies => config.policies.get(name).cloned().map(Entry::Policy),
            Table::Aliases => config.aliases.get(name).cloned().map(|model| Entry::Alias(Alias { model })),
            Table::Groups => config.groups.get(name).cloned().map(Entry::Group),
            Table::Models => config.models.get(name).cloned().map(Entry::Model),
        }
    }

    fn set(self, config: &mut Config, name: &str) {
        let name = name.to_owned();
        match self {
            Entry::Alerts(alerts) => config.alerts = alerts,
            Entry::Policy(policy) => drop(config.policies.insert(name, policy)),
            Entry::Alias(alias) => drop(config.aliases.insert(name, alias.model)),
            Entry::Group(group) => drop(config.groups.insert(name, group)),
            Entry::Model(model) => drop(config.models.insert(name, model)),
        }
    }
}

/// The names of a table of a configuration.
fn names(config: &Config, table: Table) -> Vec<&str> {
    match table {
        Table::Alerts => table.only_entry().into_iter().collect(),
        Table::Policies => config.policies.keys().map(String::as_str).collect(),
        Table::Aliases => config.aliases.keys().map(String::as_str).collect(),
        Table::Groups => config.groups.keys().map(String::as_str).collect(),
        Table::Models => config.models.keys().map(String::as_str).collect(),
    }
}

/// The place of a setting in the configuration: `policies.basic`.
pub fn place(table: Table, name: &str) -> String {
    let shown: String = name.chars().take(100).collect();
    match table {
        Table::Alerts => table.name().to_owned(),
        Table::Models => format!("models.\"{shown}\""),
        _ => format!("{}.{shown}", table.name()),
    }
}

/// A stored setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The table.
    pub table: Table,
    /// The name.
    pub name: String,
    /// The entry, or why it cannot be read.
    pub entry: Result<Entry, String>,
    /// The version of all settings that it was written with.
    pub version: u64,
    /// The time of the change, in milliseconds since 1970.
    pub changed_ms: u64,
    /// The label of the operator key that changed it.
    pub changed_by: String,
}

/// A row of the database.
#[derive(Deserialize)]
struct Row {
    kind: String,
    name: String,
    value: String,
    version: u64,
    changed_ms: u64,
    changed_by: String,
}

impl Setting {
    /// Reads a row of the database; `None` if it is of no table that this version knows.
    pub fn from_row(row: &Value) -> Option<Setting> {
        let Row { kind, name, value, version, changed_ms, changed_by } = Row::deserialize(row).ok()?;
        let table = Table::ALL.into_iter().find(|table| table.name() == kind)?;
        let value: Result<Value, String> = serde_json::from_str(&value).map_err(|error| error.to_string());
        let entry = value.and_then(|value| Entry::read(table, &value));
        Some(Setting { table, name, entry, version, changed_ms, changed_by })
    }
}

/// The effective configuration: that of the deployment with the settings over it. Settings that are not valid with it,
/// because a deployment has changed what they depend on, are left out; the texts say why. A policy that is left out is
/// removed: the keys that have it are rejected rather than given the permissions of an older policy.
pub fn apply(base: &Config, settings: &[Setting]) -> (Config, Vec<String>) {
    let mut config = base.clone();
    for setting in settings {
        if let Ok(entry) = &setting.entry {
            entry.clone().set(&mut config, &setting.name);
        }
    }
    if config.check().is_ok() && settings.iter().all(|setting| setting.entry.is_ok()) {
        return (config, Vec::new());
    }
    let mut sorted: Vec<&Setting> = settings.iter().collect();
    sorted.sort_by_key(|setting| setting.table);
    let mut config = base.clone();
    let mut faults = Vec::new();
    for Setting { table, name, entry, .. } in sorted {
        let mut next = config.clone();
        let applied = match entry {
            Ok(entry) => {
                entry.clone().set(&mut next, name);
                next.check().map_err(|error| error.to_string())
            }
            Err(what) => Err(format!("{}: {what}", place(*table, name))),
        };
        match applied {
            Ok(()) => config = next,
            Err(fault) => {
                faults.push(fault);
                if *table == Table::Policies {
                    config.policies.remove(name);
                }
            }
        }
    }
    (config, faults)
}

/// A change of one setting.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The table.
    pub table: Table,
    /// The name.
    pub name: &'a str,
    /// The new entry; `None` removes the setting, so that the file's entry applies again, if there is one.
    pub entry: Option<Entry>,
}

impl Change<'_> {
    /// Decides whether the change may be made, and what it changes. `keys` are all keys that are not revoked.
    pub fn decide(&self, base: &Config, current: &[Setting], keys: &[IssuedKey]) -> Result<Effect, Error> {
        let Change { table, name, entry } = self;
        let is_this = |setting: &Setting| setting.table == *table && setting.name == *name;
        let (before, known_faults) = apply(base, current);
        if entry.is_none() && !current.iter().any(is_this) {
            return Err(self.not_set(base));
        }
        let mut settings: Vec<Setting> =
            current.iter().filter(|setting| !is_this(setting)).cloned().collect();
        if let Some(entry) = entry {
            let of_change = Setting {
                table: *table,
                name: (*name).to_owned(),
                entry: Ok(entry.clone()),
                version: 0,
                changed_ms: 0,
                changed_by: String::new(),
            };
            settings.push(of_change);
        }
        if settings.len() > MAX_SETTINGS {
            let message = format!("There are {MAX_SETTINGS} settings, which is the most; remove one first");
            return Err(Error::new(Code::InvalidValue, message));
        }
        let (after, faults) = apply(base, &settings);
        if let Some(fault) = faults.into_iter().find(|fault| !known_faults.contains(fault)) {
            let is_own = entry.is_some() && fault.starts_with(table.name());
            let code = if is_own { Code::InvalidValue } else { Code::SettingInUse };
            return Err(Error::new(code, fault));
        }
        let broken: Vec<&IssuedKey> = keys.iter().filter(|key| breaks(key, &before, &after)).collect();
        if !broken.is_empty() {
            return Err(in_use(&place(*table, name), &broken));
        }
        let affected = |key: &&IssuedKey| concerns(key, *table, name, &before, &after);
        Ok(Effect {
            was: Entry::of(&before, *table, name),
            value: Entry::of(&after, *table, name),
            affected_keys: keys.iter().filter(affected).count(),
        })
    }

    /// The error for the removal of a setting that does not exist.
    fn not_set(&self, base: &Config) -> Error {
        let place = place(self.table, self.name);
        if Entry::of(base, self.table, self.name).is_some() {
            let message = format!(
                "{place} is set in the deployment's configuration, which only a deployment changes; PUT overrides it"
            );
            return Error::new(Code::SettingInFile, message);
        }
        unknown(self.table, self.name)
    }
}

/// The error for a setting that does not exist.
pub fn unknown(table: Table, name: &str) -> Error {
    Error::new(Code::UnknownSetting, format!("There is no setting {}", place(table, name)))
}

fn in_use(place: &str, keys: &[&IssuedKey]) -> Error {
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let shown = names.get(..NAMED).unwrap_or(&names);
    let rest = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} others"),
    };
    let message =
        format!("{place} is used by the keys {}{rest}; change or revoke them first", shown.join(", "));
    Error::new(Code::SettingInUse, message).with_details(json!({"keys": shown, "count": names.len()}))
}

/// Returns `true` if a key that works would no longer have a policy, or a name in its list of models.
fn breaks(key: &IssuedKey, before: &Config, after: &Config) -> bool {
    let loses_policy =
        |name: &String| before.policies.contains_key(name) && !after.policies.contains_key(name);
    let loses_model = |pattern: &String| {
        before.check_model_pattern(pattern).is_ok() && after.check_model_pattern(pattern).is_err()
    };
    key.policies.iter().any(loses_policy) || key.models.iter().flatten().any(loses_model)
}

/// Returns `true` if a change of a setting concerns a key: it has the policy, or may use a model behind the name, before
/// the change or after it.
fn concerns(key: &IssuedKey, table: Table, name: &str, before: &Config, after: &Config) -> bool {
    let may_use = |config: &Config, model: &str| key.check_model(config, name, model).is_ok();
    match table {
        Table::Alerts => false,
        Table::Policies => key.policies.iter().any(|policy| policy == name),
        Table::Models => [before, after].into_iter().any(|config| may_use(config, name)),
        Table::Aliases | Table::Groups => [before, after]
            .into_iter()
            .any(|config| config.behind(name).iter().any(|model| may_use(config, model))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use serde_json::json;

    fn base() -> Config {
        serde_json::from_value(json!({
            "policies": {"basic": {"limits": {"requests_per_minute": 5}}},
            "aliases": {"fast": "groq/a"},
            "groups": {"pair": {"models": ["groq/a", "openai/b"]}},
            "access": {"policies": ["basic"]},
        }))
        .unwrap()
    }

    fn key(name: &str, policies: &[&str], models: Option<&[&str]>) -> IssuedKey {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        IssuedKey {
            name: name.to_owned(),
            policies: list(policies),
            models: models.map(list),
            ..IssuedKey::default()
        }
    }

    fn setting(table: Table, name: &str, value: &Value) -> Setting {
        let row = json!({"kind": table.name(), "name": name, "value": value.to_string(), "version": 3,
            "changed_ms": 7, "changed_by": "ops"});
        Setting::from_row(&row).unwrap()
    }

    /// The effect of a change over the settings, or its code and message.
    fn decide(
        current: &[Setting],
        keys: &[IssuedKey],
        table: Table,
        name: &str,
        value: Option<&Value>,
    ) -> Result<Effect, (String, String)> {
        let entry = value.map(|value| Entry::of_body(table, name, value.to_string().as_bytes())).transpose();
        let effect = entry.and_then(|entry| Change { table, name, entry }.decide(&base(), current, keys));
        effect.map_err(|error| (error.code().unwrap_or_default().to_owned(), error.message))
    }

    #[test]
    fn faults_have_the_words_of_the_file() {
        for (table, name, value, code, part) in [
            (Table::Policies, "p", json!({"rpm": 5}), "unknown_member", "policies.p: unknown field `rpm`"),
            (
                Table::Policies,
                "p",
                json!({"limits": {"usd_per_day": 0}}),
                "invalid_value",
                "policies.p.limits.usd_per_day must be greater than 0",
            ),
            (Table::Policies, "a b", json!({}), "invalid_value", "policies.a b: a policy's name is 1 to 64"),
            (
                Table::Policies,
                "p",
                json!({"models": ["gpt-4o"]}),
                "invalid_value",
                "policies.p.models: 'gpt-4o' must be provider/model",
            ),
            (Table::Aliases, "a", json!({"model": "gpt"}), "invalid_value", "aliases.a is 'gpt'; it must be"),
            (Table::Aliases, "a", json!({}), "invalid_value", "aliases.a: missing field `model`"),
            (
                Table::Aliases,
                "groq/a",
                json!({"model": "groq/a"}),
                "invalid_value",
                "aliases.groq/a leads back to itself",
            ),
            (Table::Groups, "g", json!({"models": []}), "invalid_value", "groups.g.models is empty"),
            (
                Table::Groups,
                "g",
                json!({"models": ["groq/a"], "weights": [0]}),
                "invalid_value",
                "groups.g.weights must have one number from 1 to 1000",
            ),
            (Table::Models, "a", json!({}), "invalid_value", "models is 'a'; it must be provider/model"),
            (Table::Models, "groq/a", json!({"like": "x"}), "invalid_value", "not in the catalogue"),
            (Table::Models, "groq/a", json!({"price": 1}), "unknown_member", "unknown field `price`"),
            (Table::Aliases, "pair", json!({"model": "groq/a"}), "setting_in_use", "groups.pair: the name"),
            (
                Table::Alerts,
                "alerts",
                json!({"budget": 80}),
                "unknown_member",
                "alerts: unknown field `budget`",
            ),
            (
                Table::Alerts,
                "alerts",
                json!({"budget_percent": [0]}),
                "invalid_value",
                "alerts.budget_percent must have at most 10 numbers from 1 to 100",
            ),
            (
                Table::Alerts,
                "alerts",
                json!({"email": "ops@example.com"}),
                "invalid_value",
                "alerts.email needs a sender: set email.from",
            ),
        ] {
            let (found, message) = decide(&[], &[], table, name, Some(&value)).unwrap_err();
            assert_eq!(found, code, "{message}");
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_change_states_what_was_and_the_keys_that_it_concerns() {
        let keys = [key("a", &["basic"], None), key("b", &[], None), key("c", &[], Some(&["openai/*"]))];
        let body = json!({"models": ["groq/*"]});
        let effect = decide(&[], &keys, Table::Policies, "basic", Some(&body)).unwrap();
        assert_eq!(effect.affected_keys, 1);
        assert_eq!(effect.was, Entry::of(&base(), Table::Policies, "basic"));
        let model = decide(&[], &keys, Table::Models, "groq/a", Some(&json!({"hidden": true}))).unwrap();
        assert_eq!((model.affected_keys, model.was), (2, None), "not the key of other models");
        let alias = decide(&[], &keys, Table::Aliases, "fast", Some(&json!({"model": "openai/b"}))).unwrap();
        assert_eq!(alias.affected_keys, 3, "those of the old and of the new model");
    }

    #[test]
    fn alerts_are_one_entry_which_stands_over_that_of_the_file() {
        let body = json!({"budget_percent": [80], "provider_failing": true});
        let effect = decide(&[], &[key("a", &[], None)], Table::Alerts, "alerts", Some(&body)).unwrap();
        assert_eq!(effect.was, Some(Entry::Alerts(Alerts::default())));
        assert_eq!(effect.affected_keys, 0);
        let stored = [setting(Table::Alerts, "alerts", &body)];
        let (effective, faults) = apply(&base(), &stored);
        assert_eq!((effective.alerts.budget_percent.as_slice(), faults.len()), ([80].as_slice(), 0));
        let base = base();
        let layers = Layers { built: &base, base: &base, effective: &effective, settings: &stored };
        let sources = config_document(layers, 1, &[], "1.0").sources;
        assert_eq!(sources.get("alerts.budget_percent"), Some(&report::Source::Database));
        assert_eq!(
            sources.get("alerts.key_expires_days"),
            Some(&report::Source::Database),
            "the whole table"
        );
        let listed = serde_json::to_value(list(layers, Table::Alerts, &BTreeMap::new())).unwrap();
        assert_eq!(listed[0]["source"], "database");
        assert_eq!(listed[0]["overrides"]["provider_failing"], false);
        let reset = decide(&stored, &[], Table::Alerts, "alerts", None).unwrap();
        assert_eq!(reset.value, Some(Entry::Alerts(Alerts::default())));
        assert_eq!(decide(&[], &[], Table::Alerts, "alerts", None).unwrap_err().0, "setting_in_file");
    }

    #[test]
    fn alerts_that_a_deployment_has_made_invalid_give_way_to_those_of_the_file() {
        let stored = [setting(Table::Alerts, "alerts", &json!({"email": "ops@example.com"}))];
        let (config, faults) = apply(&base(), &stored);
        assert_eq!(config.alerts, Alerts::default());
        assert_eq!(faults, ["alerts.email needs a sender: set email.from"]);
    }

    #[test]
    fn what_keys_or_settings_use_cannot_be_removed() {
        let stored = [
            setting(Table::Policies, "gold", &json!({"models": ["quick"]})),
            setting(Table::Policies, "basic", &json!({})),
            setting(Table::Aliases, "quick", &json!({"model": "groq/a"})),
            setting(Table::Aliases, "slow", &json!({"model": "groq/a"})),
        ];
        let keys = [key("a", &["gold", "basic"], None), key("b", &[], Some(&["slow"]))];
        let remove = |table, name| decide(&stored, &keys, table, name, None);
        let (code, message) = remove(Table::Policies, "gold").unwrap_err();
        assert_eq!(code, "setting_in_use");
        assert_eq!(message, "policies.gold is used by the keys a; change or revoke them first");
        assert!(remove(Table::Aliases, "slow").unwrap_err().1.contains("used by the keys b;"));
        let (code, message) = remove(Table::Aliases, "quick").unwrap_err();
        assert_eq!(code, "setting_in_use");
        assert!(message.starts_with("policies.gold.models: 'quick' must be"), "{message}");
        assert_eq!(remove(Table::Aliases, "fast").unwrap_err().0, "setting_in_file");
        assert_eq!(remove(Table::Aliases, "nothing").unwrap_err().0, "unknown_setting");
        let reset = remove(Table::Policies, "basic").unwrap();
        assert_eq!(
            reset.value,
            Entry::of(&base(), Table::Policies, "basic"),
            "the file's entry applies again"
        );
    }

    #[test]
    fn settings_that_a_deployment_has_made_invalid_are_left_out_alone() {
        let stored = [
            setting(Table::Policies, "gone", &json!({"models": ["removed/*"]})),
            setting(Table::Policies, "basic", &json!({"models": ["removed/*"]})),
            setting(Table::Groups, "odd", &json!({"members": []})),
            setting(Table::Aliases, "quick", &json!({"model": "groq/b"})),
        ];
        let (config, faults) = apply(&base(), &stored);
        assert_eq!(config.aliases.get("quick").map(String::as_str), Some("groq/b"));
        assert!(config.policies.is_empty(), "an older policy does not apply in place of an invalid one");
        assert_eq!(faults.len(), 3);
        assert!(faults[0].starts_with("groups.odd: unknown field `members`"), "{faults:?}");
        // The operator can repair one after the other.
        assert!(decide(&stored[2..3], &[], Table::Groups, "odd", None).is_ok());
        assert!(decide(&stored[..1], &[], Table::Aliases, "new", Some(&json!({"model": "groq/c"}))).is_ok());
    }

    #[test]
    fn the_configuration_states_the_source_of_each_value() {
        let built: Config = serde_json::from_value(json!({"timeouts": {"ping_ms": 9}})).unwrap();
        let base: Config =
            serde_json::from_value(json!({"timeouts": {"ping_ms": 9}, "aliases": {"fast": "groq/a"}}))
                .unwrap();
        let settings = [setting(Table::Policies, "gold", &json!({"expires_days": 3}))];
        let (effective, faults) = apply(&base, &settings);
        let layers = Layers { built: &built, base: &base, effective: &effective, settings: &settings };
        let document = serde_json::to_value(config_document(layers, 4, &faults, "1.0")).unwrap();
        let sources = &document["sources"];
        assert_eq!(sources["timeouts.ping_ms"], "gateway.toml");
        assert_eq!(sources["timeouts.idle_ms"], "default");
        assert_eq!(sources["aliases.fast"], "GATEWAY_CONFIG");
        assert_eq!(sources["policies.gold"], "database");
        assert_eq!(document["settings"]["policies"]["gold"]["expires_days"], 3);
        let listed =
            serde_json::to_value(list(layers, Table::Policies, &BTreeMap::from([("gold".to_owned(), 1)])))
                .unwrap();
        assert_eq!(listed[0]["keys"], 1);
        assert_eq!(listed[0]["changed_at"], "1970-01-01T00:00:00.007Z");
        let aliases = serde_json::to_value(list(layers, Table::Aliases, &BTreeMap::new())).unwrap();
        assert_eq!(
            aliases,
            json!([{"name": "fast", "source": "GATEWAY_CONFIG", "value": {"model": "groq/a"},
            "overrides": null, "keys": null, "version": null, "changed_at": null, "changed_by": null}])
        );
    }
}
