//! Key requests.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::onboarding::api_key::{ApiKey, Settings};
use gatehouse_core::onboarding::audit::{self, Action};
use gatehouse_core::onboarding::increase::Increase;
use gatehouse_core::onboarding::key_request::{DeveloperKey, KeyRequest, KeyRequestDraft, State};
use gatehouse_core::onboarding::submission::new_request_id;
use gatehouse_core::onboarding::webhook::{Event, Notification};
use serde::Deserialize;
use serde_json::Value;
use worker::Env;

use super::change::{Change, Changed, change};
use super::keys::{Credential, Draft};
use super::notifications;
use super::sql::{self, rows, run, text};
use crate::platform::database::{self, Failure, Statement};
use crate::platform::{clock, random};

/// The actor of keys that are issued without review.
const AUTO_ISSUE: &str = "auto issue";

/// The number of requests on a page of the list.
pub const PAGE_SIZE: u64 = 10;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, state, by_user, email, policies, fields, version, date_created, decided_ms, decided_by, ",
            "decline_reason, key_id, increase FROM key_requests ",
            $rest
        )
    };
}

/// The origin of a public submission, as keyed hashes.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Of the client's address.
    pub client: String,
    /// Of its `User-Agent`.
    pub user_agent: Option<String>,
    /// Of its `Idempotency-Key`, together with its address.
    pub idempotency_key: Option<String>,
    /// Of the body, if there is an `Idempotency-Key`.
    pub body: Option<String>,
}

/// A key that is created together with its request.
pub struct AutoIssue<'a> {
    /// Its id.
    pub key_id: &'a str,
    /// Its settings.
    pub settings: &'a Settings,
    /// Its secret.
    pub credential: &'a Credential,
}

/// The result of a submission.
pub enum Submitted {
    /// The request was stored under this id.
    Stored(String),
    /// The same submission was stored before.
    Before {
        /// Its id.
        id: String,
        /// The first response had a key.
        with_key: bool,
    },
}

/// A new request, before it is stored.
fn new_request(draft: KeyRequestDraft, now_ms: u64) -> KeyRequest {
    KeyRequest {
        id: new_request_id(now_ms, random::id_bytes()),
        state: if draft.approved { State::Approved } else { State::Pending },
        draft,
        decided_ms: None,
        decided_by: None,
        decline_reason: None,
        key_id: None,
        increase: None,
    }
}

fn insert(request: &KeyRequest, origin: Option<&Origin>, now_ms: u64) -> Statement {
    let draft = &request.draft;
    let row = [
        ("id", request.id.as_str().into()),
        ("state", request.state.as_str().into()),
        ("by_user", draft.by_user.as_str().into()),
        ("email", draft.email.as_deref().into()),
        ("policies", text(&draft.policies)),
        ("fields", text(&draft.fields)),
        ("version", draft.version.as_str().into()),
        ("date_created", draft.date_created.as_str().into()),
        ("created_ms", now_ms.into()),
        ("ip_hash", origin.map(|origin| origin.client.as_str()).into()),
        ("user_agent_hash", origin.and_then(|origin| origin.user_agent.as_deref()).into()),
        ("idempotency_hash", origin.and_then(|origin| origin.idempotency_key.as_deref()).into()),
        ("body_hash", origin.and_then(|origin| origin.body.as_deref()).into()),
        ("decided_ms", request.decided_ms.into()),
        ("decided_by", request.decided_by.as_deref().into()),
        ("key_id", request.key_id.as_deref().into()),
        ("increase", request.increase.as_ref().map_or(Value::Null, text)),
    ];
    sql::insert("key_requests", row, "WHERE true ON CONFLICT (idempotency_hash) DO NOTHING")
}

/// The statement that writes a notification; `None` without a webhook.
fn notify(
    notification: Option<&Notification<'_>>,
    event: Event,
    request: &KeyRequest,
    now_ms: u64,
) -> Option<Statement> {
    let body = notification?.body(event, request);
    Some(notifications::write(&request.id, event, body, now_ms))
}

/// Stores a public submission, with a key if keys are issued without review.
pub async fn submit(
    env: &Env,
    draft: KeyRequestDraft,
    origin: &Origin,
    auto: Option<AutoIssue<'_>>,
    notification: Option<&Notification<'_>>,
) -> Result<Submitted, Error> {
    let now_ms = clock::now_ms();
    let mut request = new_request(draft, now_ms);
    match auto {
        None => {
            let mut statements = vec![insert(&request, Some(origin), now_ms)];
            statements.extend(notify(notification, Event::Submitted, &request, now_ms));
            let outcomes = run(env, &statements).await?;
            if outcomes.first().is_some_and(|outcome| outcome.changes > 0) {
                return Ok(Submitted::Stored(request.id));
            }
        }
        Some(AutoIssue { key_id, settings, credential }) => {
            request.state = State::Approved;
            request.decided_ms = Some(now_ms);
            request.decided_by = Some(AUTO_ISSUE.to_owned());
            request.key_id = Some(key_id.to_owned());
            let stored = insert(&request, Some(origin), now_ms);
            let issued = approval(stored, &request, None, settings, credential, notification, now_ms);
            if matches!(change(env, issued).await?, Changed::Done) {
                return Ok(Submitted::Stored(request.id));
            }
        }
    }
    submitted_before(env, origin).await
}

/// Stores the request of a key holder for higher limits. `None` if a request of the key is pending.
pub async fn submit_increase(
    env: &Env,
    draft: KeyRequestDraft,
    increase: Increase,
    notification: Option<&Notification<'_>>,
) -> Result<Option<KeyRequest>, Error> {
    let now_ms = clock::now_ms();
    let request = KeyRequest { increase: Some(increase), ..new_request(draft, now_ms) };
    let mut statements = vec![insert(&request, None, now_ms)];
    statements.extend(notify(notification, Event::Submitted, &request, now_ms));
    match database::run(env, &statements).await {
        Ok(_) => Ok(Some(request)),
        Err(Failure::Duplicate(_)) => Ok(None),
        Err(failure) => Err(sql::unavailable(&failure)),
    }
}

/// Approves a request for higher limits: marks it, and changes the settings of the key as it was read, or does nothing.
/// `false` if the request was decided or deleted, or the key was changed or revoked, since they were read. `request` is
/// the final one.
pub async fn approve_increase(
    env: &Env,
    request: &KeyRequest,
    key: &ApiKey,
    settings: &Settings,
    actor: &str,
    notification: Option<&Notification<'_>>,
) -> Result<bool, Error> {
    let now_ms = clock::now_ms();
    let set = [
        ("state = ?", State::Approved.as_str().into()),
        ("decided_ms = ?", request.decided_ms.into()),
        ("decided_by = ?", actor.into()),
    ];
    let key_is_as_read = "? = (SELECT version FROM issued_keys WHERE revoked_ms IS NULL \
                          AND id = json_extract(key_requests.increase, '$.key_id'))";
    let as_read = [
        ("id = ?", request.id.as_str().into()),
        ("state = ?", State::Pending.as_str().into()),
        (key_is_as_read, key.version.into()),
    ];
    let marked = sql::update("key_requests", set, as_read);
    let set = [
        ("limits = ?", text(&settings.limits)),
        ("policies = ?", text(&settings.policies)),
        ("version = ?", (key.version + 1).into()),
    ];
    let raised = sql::update("issued_keys", set, [("changes() > 0 AND id = ?", key.id.as_str().into())]);
    let event = audit::Event::IncreaseApproved {
        key_id: &key.id,
        name: &key.name,
        settings: settings.into(),
        was: (&key.settings).into(),
    };
    let action = Action { actor, subject: &request.id, event };
    let then = notify(notification, Event::Approved, request, now_ms).into_iter().collect();
    let changed = change(env, Change { deciding: vec![marked, raised], action, then }).await?;
    Ok(matches!(changed, Changed::Done))
}

/// The earlier submission with the same `Idempotency-Key`. The same key with another body is rejected.
async fn submitted_before(env: &Env, origin: &Origin) -> Result<Submitted, Error> {
    let sql = "SELECT id, body_hash, decided_by FROM key_requests WHERE idempotency_hash = ?1";
    let found = rows(env, sql, [origin.idempotency_key.as_deref().into()]).await?;
    let column = |name| found.first().and_then(|row| row.get(name)?.as_str());
    let Some(id) = column("id") else {
        return Err(Error::new(Code::InternalError, "The request was not stored"));
    };
    if column("body_hash") != origin.body.as_deref() {
        return Err(Error::new(
            Code::IdempotencyKeyReused,
            "This 'Idempotency-Key' was used before with another body; use a new key for a new request",
        )
        .with_param("idempotency-key"));
    }
    Ok(Submitted::Before { id: id.to_owned(), with_key: column("decided_by") == Some(AUTO_ISSUE) })
}

/// One request.
pub async fn get(env: &Env, id: &str) -> Result<Option<KeyRequest>, Error> {
    rows(env, select!("WHERE id = ?1"), [id.into()]).await?.first().map(read).transpose()
}

fn read(row: &Value) -> Result<KeyRequest, Error> {
    KeyRequest::from_row(row)
        .ok_or_else(|| Error::new(Code::InternalError, "A stored request cannot be read"))
}

/// A page of the requests that contain a text, newest first, and the number of these requests. Without a page number (from
/// 1), all of them. Letters of ASCII in the text match in both cases.
pub async fn list(
    env: &Env,
    state: Option<State>,
    search: Option<&str>,
    page: Option<u64>,
) -> Result<(Vec<KeyRequest>, u64), Error> {
    let (limit, offset) = match page {
        Some(page) => (Value::from(PAGE_SIZE), page.saturating_sub(1).saturating_mul(PAGE_SIZE).min(1 << 50)),
        None => (Value::from(-1), 0),
    };
    // With `?1 IS NULL OR state = ?1`, the database would not use the index of states.
    let of_state = if state.is_some() { "state = ?1" } else { "?1 IS NULL" };
    let matching = format!(
        "WHERE {of_state} AND (?2 IS NULL \
         OR instr(lower(id || ' ' || by_user || ' ' || coalesce(email, '') || ' ' || fields), ?2) > 0)"
    );
    let parameters: [Value; 2] =
        [state.map(State::as_str).into(), search.map(str::to_ascii_lowercase).into()];
    let statements = [
        Statement::new(
            format!("{} {matching} ORDER BY created_ms DESC, id DESC LIMIT ?3 OFFSET ?4", select!("")),
            [&parameters[..], &[limit, offset.into()]].concat(),
        ),
        Statement::new(format!("SELECT count(*) AS count FROM key_requests {matching}"), parameters),
    ];
    let outcomes = run(env, &statements).await?;
    let found = outcomes.first().map(|outcome| outcome.rows.as_slice()).unwrap_or_default();
    let count = outcomes.get(1).and_then(|outcome| outcome.rows.first()?.get("count")?.as_u64());
    Ok((found.iter().map(read).collect::<Result<_, _>>()?, count.unwrap_or_default()))
}

/// The live keys of some developers, by developer.
pub async fn keys_of(env: &Env, developers: &[&str]) -> Result<Vec<(String, DeveloperKey)>, Error> {
    #[derive(Deserialize)]
    struct Row {
        by_user: String,
        id: String,
        policies: String,
    }
    let sql = "SELECT by_user, id, policies FROM issued_keys WHERE revoked_ms IS NULL \
               AND by_user IN (SELECT value FROM json_each(?1)) ORDER BY created_ms, id";
    let found = rows(env, sql, [text(developers)]).await?;
    Ok(found
        .iter()
        .filter_map(|row| Row::deserialize(row).ok())
        .filter_map(|Row { by_user, id, policies }| {
            Some((by_user, DeveloperKey { id, policies: json::read(&policies).ok()? }))
        })
        .collect())
}

/// Stores a request that an operator creates.
pub async fn create(
    env: &Env,
    draft: KeyRequestDraft,
    actor: &str,
    notification: Option<&Notification<'_>>,
) -> Result<String, Error> {
    let now_ms = clock::now_ms();
    let request = new_request(draft, now_ms);
    let made = Change {
        deciding: vec![insert(&request, None, now_ms)],
        action: Action {
            actor,
            subject: &request.id,
            event: audit::Event::RequestCreated { now: (&request.draft).into() },
        },
        then: notify(notification, Event::Submitted, &request, now_ms).into_iter().collect(),
    };
    match change(env, made).await? {
        Changed::Done => Ok(request.id),
        Changed::Nothing | Changed::Duplicate => {
            Err(Error::new(Code::InternalError, "The request was not stored"))
        }
    }
}

/// Replaces a pending request, as it was read. `false` if it is not pending, was changed since, or does not exist.
pub async fn update(
    env: &Env,
    read: &KeyRequest,
    draft: &KeyRequestDraft,
    actor: &str,
) -> Result<bool, Error> {
    let state = if draft.approved { State::Approved } else { State::Pending };
    // The e-mail address of a public request stays, unless the operator sets one.
    let email = "email = coalesce(?, CASE WHEN ip_hash IS NULL THEN NULL ELSE email END)";
    let set = [
        ("state = ?", state.as_str().into()),
        ("by_user = ?", draft.by_user.as_str().into()),
        (email, draft.email.as_deref().into()),
        ("policies = ?", text(&draft.policies)),
        ("fields = ?", text(&draft.fields)),
        ("version = ?", draft.version.as_str().into()),
        ("date_created = ?", draft.date_created.as_str().into()),
    ];
    let event = audit::Event::RequestUpdated { now: draft.into(), was: (&read.draft).into() };
    let as_read = [
        ("id = ?", read.id.as_str().into()),
        ("state = ?", State::Pending.as_str().into()),
        ("json(policies) = json(?)", text(&read.draft.policies)),
    ];
    let updated = sql::update("key_requests", set, as_read);
    decide(env, updated, Action { actor, subject: &read.id, event }, vec![]).await
}

/// The conditions of a change to a pending request.
fn pending(id: &str) -> [(&'static str, Value); 2] {
    [("id = ?", id.into()), ("state = ?", State::Pending.as_str().into())]
}

/// Declines a pending request. `false` if it is not pending, or does not exist.
pub async fn decline(env: &Env, id: &str, reason: Option<&str>, actor: &str) -> Result<bool, Error> {
    let set = [
        ("state = ?", State::Declined.as_str().into()),
        ("decided_ms = ?", clock::now_ms().into()),
        ("decided_by = ?", actor.into()),
        ("decline_reason = ?", reason.into()),
    ];
    let declined = sql::update("key_requests", set, pending(id));
    decide(
        env,
        declined,
        Action { actor, subject: id, event: audit::Event::RequestDeclined { reason } },
        vec![],
    )
    .await
}

/// Deletes a request. `false` if it does not exist. The key that was issued for it stays.
pub async fn delete(env: &Env, id: &str, actor: &str) -> Result<bool, Error> {
    let removed = Statement::new("DELETE FROM key_requests WHERE id = ?1", [id.into()]);
    let then = vec![notifications::forget(id)];
    decide(env, removed, Action { actor, subject: id, event: audit::Event::RequestDeleted {} }, then).await
}

/// Approves a request: marks it, creates the key, and records both, or does nothing. `false` if the request was
/// decided, changed or deleted since it was read. `request` is the final one: with its key and its final policies.
pub async fn approve(
    env: &Env,
    read: &KeyRequest,
    request: &KeyRequest,
    name: Option<&str>,
    settings: &Settings,
    credential: &Credential,
    notification: Option<&Notification<'_>>,
) -> Result<bool, Error> {
    let now_ms = clock::now_ms();
    let set = [
        ("state = ?", State::Approved.as_str().into()),
        ("decided_ms = ?", request.decided_ms.into()),
        ("decided_by = ?", request.decided_by.as_deref().into()),
        ("key_id = ?", request.key_id.as_deref().into()),
        ("policies = ?", text(&request.draft.policies)),
    ];
    let as_read = [
        ("id = ?", request.id.as_str().into()),
        ("state = ?", State::Pending.as_str().into()),
        ("json(policies) = json(?)", text(&read.draft.policies)),
        ("by_user = ?", read.draft.by_user.as_str().into()),
        ("email IS ?", read.draft.email.as_deref().into()),
    ];
    let marked = sql::update("key_requests", set, as_read);
    let approved = approval(marked, request, name, settings, credential, notification, now_ms);
    match change(env, approved).await? {
        Changed::Done => Ok(true),
        Changed::Nothing => Ok(false),
        Changed::Duplicate => Err(Error::new(
            Code::DuplicateName,
            match name {
                Some(name) => {
                    format!("There is a key of the name '{name}' already; approve with another 'name'")
                }
                None => format!(
                    "There is a key of the name '{}' already, and the key of a request has its id as its name; approve with \
                     a 'name'",
                    request.id
                ),
            },
        )),
    }
}

/// The change that approves a request: `marked` stores it as approved, then the key is created with its credential. A key
/// without a `name` has the id of the request as its name.
fn approval<'a>(
    marked: Statement,
    request: &'a KeyRequest,
    name: Option<&'a str>,
    settings: &'a Settings,
    credential: &'a Credential,
    notification: Option<&Notification<'_>>,
    now_ms: u64,
) -> Change<'a> {
    let actor = request.decided_by.as_deref().unwrap_or_default();
    let key_id = request.key_id.as_deref().unwrap_or_default();
    let key = Draft {
        id: key_id,
        name: name.unwrap_or(&request.id),
        settings,
        by_user: Some(&request.draft.by_user),
        request_id: Some(&request.id),
        created_by: actor,
    };
    let event = audit::Event::RequestApproved {
        key_id,
        name,
        settings: settings.into(),
        credential: credential.note(),
    };
    let mut then = vec![credential.store(key_id, now_ms)];
    then.extend(notify(notification, Event::Approved, request, now_ms));
    Change {
        deciding: vec![marked, key.store(true, now_ms)],
        action: Action { actor, subject: &request.id, event },
        then,
    }
}

async fn decide(
    env: &Env,
    deciding: Statement,
    action: Action<'_>,
    then: Vec<Statement>,
) -> Result<bool, Error> {
    let changed = change(env, Change { deciding: vec![deciding], action, then }).await?;
    Ok(matches!(changed, Changed::Done))
}
