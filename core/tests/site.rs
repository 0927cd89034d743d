//! The data files that the documentation gets from the core's tables: `site/data/errors.json`, `site/data/log.json`,
//! `site/data/operations.json` and `site/data/providers.json`, from which `site/scripts/pages.mjs` generates pages. They are committed, so that the
//! site can be built without a compiler; this test keeps them equal to the tables.
//!
//! ```text
//! UPDATE_SITE=1 cargo test -p gatehouse-core --test site
//! ```
//!
//! writes them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::{env, fs};

use gatehouse_core::catalog::{PROVIDERS, api_key_variable};
use gatehouse_core::config::Auth;
use gatehouse_core::error::{Code, Retry};
use gatehouse_core::log::Event;
use gatehouse_core::operation::{Format, OPERATIONS};
use serde_json::{Value, json};

const COMMAND: &str = "UPDATE_SITE=1 cargo test -p gatehouse-core --test site";

/// Compares the file with the table, or writes it.
fn keep(name: &str, rows: &[Value]) {
    let path = format!("{}/../site/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let rows: Vec<_> = rows.iter().map(|row| format!("  {row}")).collect();
    let text = format!("[\n{}\n]\n", rows.join(",\n"));
    if env::var("UPDATE_SITE").is_ok_and(|value| value == "1") {
        fs::write(path, text).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(kept == text, "site/data/{name} differs from the table; run: {COMMAND}");
}

#[test]
fn the_errors_of_the_site_match_the_error_table() {
    let rows: Vec<_> = Code::ALL
        .iter()
        .map(|code| {
            let spec = code.spec();
            let retry = match spec.retry {
                Retry::Never => "no".to_owned(),
                Retry::After(seconds) => format!("after {seconds} s"),
                Retry::Operator => "once fixed".to_owned(),
            };
            json!({
                "code": spec.code, "v0_code": spec.pascal_code, "status": spec.status,
                "type": spec.kind, "retry": retry, "meaning": spec.meaning,
            })
        })
        .collect();
    keep("errors.json", &rows);
}

#[test]
fn the_log_fields_of_the_site_match_the_table_of_events() {
    let rows: Vec<_> = Event::ALL
        .iter()
        .map(|event| {
            let field = |field: &gatehouse_core::log::FieldSpec| {
                json!({
                    "name": field.name, "type": field.kind.name(), "nullable": field.is_nullable && !field.is_optional,
                    "optional": field.is_optional, "meaning": field.meaning.trim(),
                })
            };
            let fields: Vec<_> = event.fields.iter().map(field).collect();
            json!({"event": event.name, "meaning": event.meaning.trim(), "fields": fields})
        })
        .collect();
    keep("log.json", &rows);
}

#[test]
fn the_operations_of_the_site_match_the_table_of_operations() {
    let rows: Vec<_> = OPERATIONS
        .iter()
        .map(|operation| {
            let is_translated = Format::CONVERSATIONS.contains(&operation.format);
            json!({ "path": operation.path, "format": operation.format, "translated": is_translated })
        })
        .collect();
    keep("operations.json", &rows);
}

#[test]
fn the_providers_of_the_site_match_the_provider_table() {
    let rows: Vec<_> = PROVIDERS
        .iter()
        .map(|provider| {
            let auth = match &provider.auth {
                Auth::Bearer => "bearer",
                Auth::None => "none",
                Auth::Header(name) => name,
            };
            let mut variables = vec![api_key_variable(provider.name)];
            variables.extend(provider.key_variables.iter().map(|&name| name.to_owned()));
            let serves: Vec<_> = provider.serves.iter().map(|(format, _)| *format).collect();
            json!({
                "name": provider.name, "base_url": provider.base_url, "serves": serves, "auth": auth,
                "key_variables": variables, "cancel_stops_billing": provider.cancel_stops_billing,
            })
        })
        .collect();
    keep("providers.json", &rows);
}
