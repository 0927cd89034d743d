//! `/v0/providers/{name}/keys` and `/v0/provider_keys/encrypt`: keys of providers that operators add while the gateway runs.
//! `GET /v0/providers` lists them. No response has a key.

use std::rc::Rc;

use gatehouse_core::catalog::{Entry, Registry};
use gatehouse_core::error::{Code, Error};
use gatehouse_core::json::Object;
use gatehouse_core::key::master::Fault;
use gatehouse_core::key::provider_key::{
    FIRST_PLACE, KeyChange, MAX_KEYS, NewKey, OpenKey, StoredKey, bound_to, mask, next_place,
};
use gatehouse_core::key::{Caller, Digest, Secret};
use gatehouse_core::onboarding::audit::Event;
use gatehouse_core::report::lanes;
use gatehouse_core::routes::OnProviderKeys;
use gatehouse_core::url;
use serde::Serialize;

use crate::inference::trial::{self, TrialReport};
use crate::isolate::{self, Isolate};
use crate::platform::response::{Body, Response};
use crate::platform::{clock, random, sealing};
use crate::request_context::RequestContext;
use crate::settings;
use crate::store::provider_keys as store;

/// The maximum number of tries of a change while others change settings.
const ATTEMPTS: u32 = 20;
/// The time that a provider has for a trial, in milliseconds.
const TRIAL_MS: u32 = 20_000;

/// An operation on the keys of the provider that the path names, or on all keys.
pub async fn on_keys(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    operator: &Caller,
    on: OnProviderKeys,
    rest: &str,
) -> Result<Response, Error> {
    let (name, id) = rest.split_once("/keys/").unwrap_or((rest, ""));
    let (name, id) = (&*url::percent_decode(name), &*url::percent_decode(id));
    if on != OnProviderKeys::Delete && on != OnProviderKeys::Encrypt {
        context.require_json()?;
    }
    let body = context.small_body().await?;
    let edit = match on {
        OnProviderKeys::Add => Edit::add(isolate, name, NewKey::read(&body)?).await?,
        OnProviderKeys::Update => Edit::Change(KeyChange::read(&body)?),
        OnProviderKeys::Delete => Edit::Delete,
        OnProviderKeys::Encrypt => Edit::Encrypt,
        OnProviderKeys::Test => return test(context, isolate, name, id, &body).await,
    };
    for _ in 0..ATTEMPTS {
        if let Some(response) = make(context, isolate, operator, &edit, (name, id)).await? {
            return Ok(response);
        }
    }
    Err(Error::new(Code::StorageUnavailable, "Other requests are changing the settings; try again"))
}

/// A change of keys.
enum Edit {
    /// Adds a key, which is encrypted already: its row, without a place.
    Add(Secret, StoredKey),
    Change(KeyChange),
    Delete,
    /// Encrypts all keys with the current master key.
    Encrypt,
}

impl Edit {
    async fn add(isolate: &Isolate, name: &str, key: NewKey) -> Result<Edit, Error> {
        let NewKey { secret, label, weight } = key;
        provider(&isolate.settings.registry, name)?;
        let master = isolate.settings.master.current().map_err(no_master_key)?;
        let id = format!("pkey_{}", hex::encode(random::secret_bytes::<8>()?));
        let sealed = sealing::seal_all(master, &[(&secret, bound_to(name, &id))]).await?;
        let key = StoredKey {
            provider: name.to_owned(),
            label: label.unwrap_or_default(),
            mask: mask(&secret),
            weight,
            enabled: 1,
            place: 0,
            sealed: sealed.into_iter().next().unwrap_or_default(),
            sealed_with: master.id().to_owned(),
            created_ms: clock::now_ms(),
            changed_ms: 0,
            changed_by: String::new(),
            deleted_ms: None,
            id,
        };
        Ok(Edit::Add(secret, key))
    }
}

/// Makes a change with the keys as they are stored; `None` if others have changed settings in the meantime. This isolate has
/// the change at once; others read it within the bound. If reading fails, so does this one.
async fn make(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    operator: &Caller,
    edit: &Edit,
    (name, id): (&str, &str),
) -> Result<Option<Response>, Error> {
    let settings = &isolate.settings;
    let (version, mut rows) = store::all(&context.env).await?;
    let of_provider = rows.iter().filter(|key| key.provider == name);
    let places: Vec<_> = of_provider.map(|key| (key.place, key.deleted_ms)).collect();
    rows.retain(|key| key.deleted_ms.is_none());
    let opened = settings::open(&settings.master, rows, &settings.run_time.keys).await;
    let mut was = None;
    let mut keys = match edit {
        Edit::Add(secret, key) => {
            check_unknown(provider(&settings.registry, name)?, &opened, secret)?;
            if opened.len() >= MAX_KEYS {
                let message =
                    format!("There are {MAX_KEYS} stored keys, which is the most; delete one first");
                return Err(Error::new(Code::InvalidValue, message));
            }
            let mut key = key.clone();
            key.place = next_place(&places)?;
            if key.label.is_empty() {
                key.label = format!("key {}", key.place);
            }
            vec![key]
        }
        Edit::Encrypt => sealed_again(isolate, &opened).await?,
        Edit::Change(_) | Edit::Delete => {
            let known = stored_key(isolate, &opened, name, id)?;
            was = Some(known);
            let mut key = known.stored.clone();
            match edit {
                Edit::Change(change) => change.apply(&mut key),
                _ => key.delete(clock::now_ms()),
            }
            vec![key]
        }
    };
    for key in &mut keys {
        key.changed_ms = clock::now_ms();
        key.changed_by = operator.label.to_string();
    }
    let is_made = match (edit, keys.first()) {
        (_, None) => true,
        (Edit::Encrypt, Some(key)) => {
            let (sealed_with, keys_sealed) = (key.sealed_with.as_str(), keys.len());
            let event = Event::ProviderKeysSealed { version: version + 1, keys: keys_sealed, sealed_with };
            store::save(&context.env, version, &keys, &operator.label, "provider_keys", event).await?
        }
        (_, Some(key)) => {
            let event = Event::ProviderKey {
                provider: name,
                id: &key.id,
                version: version + 1,
                now: key.deleted_ms.is_none().then(|| key.note()),
                was: was.map(|was| was.stored.note()),
            };
            let subject = format!("{name}/{}", key.id);
            store::save(&context.env, version, &keys, &operator.label, &subject, event).await?
        }
    };
    if !is_made {
        return Ok(None);
    }
    let _ = isolate::refresh(&context.env).await;
    Ok(Some(match (edit, keys.first()) {
        (Edit::Encrypt, _) | (_, None) => {
            let unread = opened.iter().filter(|key| key.secret.is_err());
            let unreadable: Vec<_> = unread.map(|key| key.stored.id.as_str()).collect();
            let current = opened.len() - unreadable.len();
            Response::json(200, &Renewal { encrypted: keys.len(), current, unreadable })
        }
        (Edit::Delete, _) => Response { status: 200, headers: Vec::new(), body: Body::Empty },
        (_, Some(stored)) => {
            let view = isolate.health.view.borrow();
            let fault = was.and_then(|was| was.secret.as_ref().err().copied());
            let status = if was.is_none() { 201 } else { 200 };
            Response::json(status, &lanes::stored_key(&view, stored, fault, clock::now_ms()))
        }
    }))
}

/// The rows of all keys that are encrypted with another master key than the current one, encrypted with the current one.
async fn sealed_again(isolate: &Isolate, opened: &[OpenKey]) -> Result<Vec<StoredKey>, Error> {
    let master = isolate.settings.master.current().map_err(no_master_key)?;
    let older = opened.iter().filter(|key| key.stored.sealed_with != master.id());
    let (mut keys, mut items) = (Vec::new(), Vec::new());
    for key in older {
        if let Ok(secret) = &key.secret {
            keys.push(key.stored.clone());
            items.push((secret, key.stored.bound_to()));
        }
    }
    let sealed = sealing::seal_all(master, &items).await?;
    for (key, sealed) in keys.iter_mut().zip(sealed) {
        key.sealed = sealed;
        master.id().clone_into(&mut key.sealed_with);
    }
    Ok(keys)
}

/// The result of encrypting all keys with the current master key.
#[derive(Serialize)]
struct Renewal<'a> {
    /// The keys that were encrypted with another one.
    encrypted: usize,
    /// All keys that are encrypted with the current one.
    current: usize,
    /// The ids of keys that cannot be read, which stay as they are.
    unreadable: Vec<&'a str>,
}

/// Rejects a key that the provider has already.
fn check_unknown(provider: &Entry, opened: &[OpenKey], secret: &Secret) -> Result<(), Error> {
    let digest = Digest::of(secret.expose().as_bytes());
    let is_same = |known: &Secret| bool::from(Digest::of(known.expose().as_bytes()).ct_eq(&digest));
    let of_secret = provider.keys().iter().find(|key| key.place < FIRST_PLACE && is_same(&key.secret));
    let of_provider = |key: &&OpenKey| key.stored.provider == provider.name;
    let of_database = opened.iter().filter(of_provider).find(|key| key.secret.as_ref().is_ok_and(is_same));
    let which = match (of_secret, of_database) {
        (Some(key), _) => format!("key {} of its Worker secret", key.place),
        (None, Some(key)) => format!("{} ('{}')", key.stored.id, key.stored.label),
        (None, None) => return Ok(()),
    };
    let message = format!("{} has this key already: it is {which}", provider.name);
    Err(Error::new(Code::DuplicateProviderKey, message))
}

/// The result of a trial of a key.
#[derive(Serialize)]
struct Tested<'a> {
    provider: &'a str,
    key: &'a str,
    #[serde(flatten)]
    report: TrialReport,
}

/// `POST /v0/providers/{name}/keys/{id}/test`
async fn test(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    name: &str,
    id: &str,
    body: &[u8],
) -> Result<Response, Error> {
    let object = Object::read_optional(body)?;
    object.only(&["model"])?;
    let model = object.string("model")?;
    // The model may be given as it is in calls.
    let model = model.map(|model| model.strip_prefix(&format!("{name}/")).unwrap_or(model));
    let settings = &isolate.settings;
    let entry = provider(&settings.registry, name)?;
    let report = if let Some(key) = place_of(id).and_then(|place| entry.key(place)) {
        trial::send(context, isolate, entry, Some(&key.secret), model, TRIAL_MS)?.settle().await
    } else {
        let key = stored_key(isolate, &settings.run_time.keys, name, id)?;
        let secret = key.secret.as_ref().map_err(|fault| unreadable(name, id, *fault))?;
        // A disabled key, too: an operator tests a key before calls use it.
        let enabled = OpenKey { stored: StoredKey { enabled: 1, ..key.stored.clone() }, ..key.clone() };
        let registry = settings.registry_with(&context.env, &[enabled]);
        let entry = provider(&registry, name)?;
        trial::send(context, isolate, entry, Some(secret), model, TRIAL_MS)?.settle().await
    };
    Ok(Response::json(200, &Tested { provider: name, key: id, report }))
}

fn provider<'a>(registry: &'a Registry, name: &str) -> Result<&'a Entry, Error> {
    registry.provider(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        Error::new(Code::NotFound, format!("There is no provider '{shown}'; GET /v0/providers lists all"))
    })
}

/// The place of a key in a Worker secret, if an id names one.
fn place_of(id: &str) -> Option<u8> {
    id.parse().ok().filter(|place| *place < FIRST_PLACE)
}

fn stored_key<'a>(
    isolate: &Isolate,
    opened: &'a [OpenKey],
    name: &str,
    id: &str,
) -> Result<&'a OpenKey, Error> {
    let entry = provider(&isolate.settings.registry, name)?;
    if place_of(id).and_then(|place| entry.key(place)).is_some() {
        let message = format!(
            "Key {id} of {name} is in a Worker secret: change it with 'npx wrangler secret put', then delete it there"
        );
        return Err(Error::new(Code::ProviderKeyInSecret, message));
    }
    let found = opened.iter().find(|key| key.stored.provider == name && key.stored.id == id);
    found.ok_or_else(|| unknown(name, id))
}

fn unknown(name: &str, id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    let message = format!("{name} has no key '{shown}'; GET /v0/providers lists its keys");
    Error::new(Code::UnknownProviderKey, message)
}

fn unreadable(name: &str, id: &str, fault: Fault) -> Error {
    let message = format!("The key {id} of {name} cannot be read: {}", fault.as_str());
    Error::new(Code::MasterKeyUnavailable, message)
}

fn no_master_key(fault: Fault) -> Error {
    let message = format!("Keys of providers cannot be stored: {}", fault.as_str());
    Error::new(Code::MasterKeyUnavailable, message)
}
