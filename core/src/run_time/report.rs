//! The documents of the run-time settings in `/v0`: lists, changes, and the effective configuration with the source of
//! each value.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{Entry, Setting, names};
use crate::config::Config;
use crate::routes::Table;
use crate::time;

/// The place that a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Source {
    /// A setting that an operator has changed at run time.
    #[serde(rename = "database")]
    Database,
    /// The variable `GATEWAY_CONFIG`.
    #[serde(rename = "GATEWAY_CONFIG")]
    Variable,
    /// `gateway.toml`.
    #[serde(rename = "gateway.toml")]
    File,
    /// The default of the schema.
    #[serde(rename = "default")]
    Default,
}

/// The configurations that stand over each other.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// That of `gateway.toml`.
    pub built: &'a Config,
    /// The same with `GATEWAY_CONFIG` over it.
    pub base: &'a Config,
    /// The effective one: the same with the settings over it.
    pub effective: &'a Config,
    /// The stored settings.
    pub settings: &'a [Setting],
}

/// The effect of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The entry before it.
    pub was: Option<Entry>,
    /// The entry after it.
    pub value: Option<Entry>,
    /// The number of keys that it concerns.
    pub affected_keys: usize,
}

/// An entry in a list of `/v0`. Times are RFC 3339.
#[derive(Clone, Debug, Serialize)]
pub struct SettingDocument<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its source.
    pub source: Source,
    /// The entry that applies; `None` if the stored one is not valid and the file has none.
    pub value: Option<Entry>,
    /// The entry of the deployment's configuration that a stored one overrides.
    pub overrides: Option<Entry>,
    /// Of a policy, the number of keys that have it.
    pub keys: Option<usize>,
    /// The version of all settings that it was written with; `None` for an entry of the deployment's configuration.
    pub version: Option<u64>,
    /// The time of the last change.
    pub changed_at: Option<String>,
    /// The label of the operator key that made it.
    pub changed_by: Option<&'a str>,
}

/// The entries of a table, by name. `keys` are the numbers of keys that have each policy.
pub fn list<'a>(
    layers: Layers<'a>,
    table: Table,
    keys: &BTreeMap<String, usize>,
) -> Vec<SettingDocument<'a>> {
    let stored: BTreeMap<&str, &Setting> = layers
        .settings
        .iter()
        .filter(|setting| setting.table == table)
        .map(|setting| (setting.name.as_str(), setting))
        .collect();
    let mut all = names(layers.effective, table);
    all.extend(stored.keys());
    all.sort_unstable();
    all.dedup();
    let document = |name: &'a str| {
        let setting = stored.get(name).copied();
        let config = layers.effective;
        SettingDocument {
            name,
            source: match setting {
                Some(_) => Source::Database,
                None if Entry::of(layers.built, table, name) == Entry::of(layers.base, table, name) => {
                    Source::File
                }
                None => Source::Variable,
            },
            value: Entry::of(config, table, name),
            overrides: setting.and_then(|_| Entry::of(layers.base, table, name)),
            keys: (table == Table::Policies).then(|| keys.get(name).copied().unwrap_or_default()),
            version: setting.map(|setting| setting.version),
            changed_at: setting.map(|setting| time::to_rfc3339(setting.changed_ms)),
            changed_by: setting.map(|setting| setting.changed_by.as_str()),
        }
    };
    all.into_iter().map(document).collect()
}

/// The response of `GET /v0/config`: the members that Feldera's clients read, then the gateway's own.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigDocument<'a> {
    /// The version of the gateway.
    pub version: &'static str,
    /// Constant: clients of this API know the edition by this name.
    pub edition: &'static str,
    /// Empty: the build does not know its commit.
    pub revision: &'static str,
    /// The changes of each version.
    pub changelog_url: &'static str,
    /// Empty: there is no telemetry.
    pub telemetry: &'static str,
    /// Null: there is no licence to check.
    pub license_validity: (),
    /// Null: the gateway does not look for updates.
    pub update_info: (),
    /// The effective configuration, in the schema of `gateway.toml`.
    pub settings: Value,
    /// The source of each entry of `settings`, as `table.name`.
    pub sources: BTreeMap<String, Source>,
    /// The number of changes of run-time settings.
    pub settings_version: u64,
    /// The stored settings that do not apply, because they are not valid with this deployment.
    pub faults: &'a [String],
}

/// The document of the effective configuration.
pub fn config_document<'a>(
    layers: Layers<'_>,
    settings_version: u64,
    faults: &'a [String],
    version: &'static str,
) -> ConfigDocument<'a> {
    let value = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let settings = value(layers.effective);
    let [built, base, default] = [layers.built, layers.base, &Config::default()].map(value);
    let is_stored = |table: &str, name: &str| {
        layers.settings.iter().any(|setting| {
            let is_whole = setting.table.only_entry().is_some();
            setting.table.name() == table && (is_whole || setting.name == name)
        })
    };
    let source = |table: &str, name: &str| {
        let of = |config: &Value| config.get(table).and_then(|table| table.get(name)).cloned();
        if is_stored(table, name) {
            Source::Database
        } else if of(&base) != of(&built) {
            Source::Variable
        } else if of(&built) != of(&default) {
            Source::File
        } else {
            Source::Default
        }
    };
    let mut sources = BTreeMap::new();
    for (table, entries) in settings.as_object().into_iter().flatten() {
        for name in entries.as_object().into_iter().flat_map(serde_json::Map::keys) {
            sources.insert(format!("{table}.{name}"), source(table, name));
        }
    }
    ConfigDocument {
        version,
        edition: "Open source",
        revision: "",
        changelog_url: "/docs/changelog",
        telemetry: "",
        license_validity: (),
        update_info: (),
        settings,
        sources,
        settings_version,
        faults,
    }
}
