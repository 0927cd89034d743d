//! `/v0/config`, `/v0/policies`, `/v0/aliases`, `/v0/groups`, `/v0/models` and `/v0/alerts/settings`: the effective
//! configuration, and the settings that operators change while the gateway runs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Caller;
use gatehouse_core::routes::{OnSettings, Table};
use gatehouse_core::run_time::{self, Change, Entry};
use gatehouse_core::url;
use serde::Serialize;

use crate::isolate::{self, Isolate};
use crate::objects::{notifier, provider_health};
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::settings::RunTime;
use crate::store::settings;

/// The maximum number of tries of a change while others change settings.
const ATTEMPTS: u32 = 20;

/// `GET /v0/config`
pub fn config(isolate: &Isolate) -> Result<Response, Error> {
    let RunTime { version, faults, .. } = &isolate.settings.run_time;
    let version = version.unwrap_or_default();
    isolate.settings.with_layers(|layers| {
        let document = run_time::config_document(layers, version, faults, env!("CARGO_PKG_VERSION"));
        not_cached(Response::json(200, &document))
    })
}

/// An operation on a table, or on the entry that the path names.
pub async fn on_table(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    operator: &Caller,
    table: Table,
    on: OnSettings,
    rest: &str,
) -> Result<Response, Error> {
    let name = table.only_entry().map_or_else(|| url::percent_decode(rest), Cow::Borrowed);
    match on {
        OnSettings::List => list(context, isolate, table).await,
        OnSettings::Get => get(context, isolate, table, &name).await,
        OnSettings::Put => {
            context.require_json()?;
            let entry = Entry::of_body(table, &name, &context.small_body().await?)?;
            change(context, isolate, operator, Change { table, name: &name, entry: Some(entry) }).await
        }
        OnSettings::Delete => {
            change(context, isolate, operator, Change { table, name: &name, entry: None }).await
        }
    }
}

async fn list(context: &RequestContext<'_>, isolate: &Isolate, table: Table) -> Result<Response, Error> {
    let keys = keys_of_policies(context, table).await?;
    isolate
        .settings
        .with_layers(|layers| not_cached(Response::json(200, &run_time::list(layers, table, &keys))))
}

async fn get(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    table: Table,
    name: &str,
) -> Result<Response, Error> {
    let keys = keys_of_policies(context, table).await?;
    isolate.settings.with_layers(|layers| {
        let found = run_time::list(layers, table, &keys);
        let document = found.iter().find(|document| document.name == name);
        let document = document.ok_or_else(|| run_time::unknown(table, name))?;
        Ok(not_cached(Response::json(200, document)))
    })?
}

/// The numbers of keys that the entries of a table state: only policies do.
async fn keys_of_policies(
    context: &RequestContext<'_>,
    table: Table,
) -> Result<BTreeMap<String, usize>, Error> {
    match table {
        Table::Policies => settings::keys_by_policy(&context.env).await,
        Table::Alerts | Table::Models | Table::Aliases | Table::Groups => Ok(BTreeMap::new()),
    }
}

/// The response to a change.
#[derive(Serialize)]
struct Changed<'a> {
    name: &'a str,
    /// Nothing was changed: the response states what would change.
    dry_run: bool,
    /// The entry before the change.
    was: Option<&'a Entry>,
    /// The entry after it; after a removal, that of the deployment's configuration.
    value: Option<&'a Entry>,
    /// The number of keys that it concerns.
    affected_keys: usize,
    /// The version of all settings, with the change if it was made.
    version: u64,
}

/// Decides a change with the settings as they are stored, and makes it unless it is a dry run.
async fn change(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    operator: &Caller,
    change: Change<'_>,
) -> Result<Response, Error> {
    let choices = [("true", true), ("false", false)];
    let dry_run = context.query_choice("dry_run", &choices)?.unwrap_or(false);
    for _ in 0..ATTEMPTS {
        let stored = settings::all(&context.env).await?;
        let keys = settings::keys(&context.env).await?;
        let effect = change.decide(&isolate.settings.base, &stored.settings, &keys)?;
        let is_done = dry_run
            || settings::save(&context.env, stored.version, &change, &effect, &operator.label).await?;
        if !is_done {
            continue;
        }
        if !dry_run {
            // This isolate has the change at once; others read it within the bound. If reading fails, so does this one.
            let _ = isolate::refresh(&context.env).await;
            if change.table == Table::Alerts {
                notifier::check_again(&context.env).await;
                provider_health::check_again(&context.env).await;
            }
        }
        let changed = Changed {
            name: change.name,
            dry_run,
            was: effect.was.as_ref(),
            value: effect.value.as_ref(),
            affected_keys: effect.affected_keys,
            version: stored.version + u64::from(!dry_run),
        };
        return Ok(Response::json(200, &changed));
    }
    Err(Error::new(Code::StorageUnavailable, "Other requests are changing the settings; try again"))
}

fn not_cached(response: Response) -> Response {
    response.with("cache-control", "no-cache")
}
