//! Issued keys and their secrets.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::{self, Digest, IssuedKey, Stored};
use gatehouse_core::onboarding::api_key::{self, ApiKey, Settings, State};
use gatehouse_core::onboarding::audit::{Action, CredentialNote, Event};
use gatehouse_core::onboarding::audit_state::noted_digest;
use gatehouse_core::onboarding::claim;
use gatehouse_core::onboarding::key_request::Owner;
use gatehouse_core::onboarding::webhook::{self, Rotated};
use gatehouse_core::time::to_rfc3339;
use serde_json::Value;
use std::collections::BTreeSet;
use std::rc::Rc;
use worker::Env;

use super::change::{Change, Changed, change};
use super::notifications;
use super::sql::{self, rows, run, run_if_any, text, unavailable};
use crate::platform::database::{self, Failure, Statement};
use crate::platform::{clock, random};

/// The actor of what the holder of a key does.
const HOLDER: &str = "key holder";

/// The columns of an [`ApiKey`].
const SELECT_KEY: &str = "SELECT k.id, k.name, k.disabled, k.policies, k.models, k.endpoints, k.limits, k.role, k.metadata, \
    k.expires_ms, k.request_id, (SELECT r.email FROM key_requests r WHERE r.id = k.request_id) AS email, k.created_ms, k.created_by, \
    k.version, (SELECT json_group_array(json_object('public_id', s.public_id, 'created_ms', s.created_ms, 'expires_ms', s.expires_ms)) \
    FROM key_secrets s WHERE s.key_id = k.id) AS secrets FROM issued_keys k";

/// A new key. Its text is shown once and never stored.
pub struct NewSecret {
    /// The whole key.
    pub text: String,
    public_id: String,
    /// In hexadecimal.
    digest: String,
    /// The digest as the audit trail notes it.
    noted: String,
}

impl NewSecret {
    /// Creates a key.
    pub fn new() -> Result<NewSecret, Error> {
        let text = key::mint(&random::secret_bytes()?);
        let public_id = key::public_id(&text).map(str::to_owned);
        let public_id =
            public_id.map_err(|_| Error::new(Code::InternalError, "A minted key is not well-formed"))?;
        let digest = Digest::of(text.as_bytes()).to_hex();
        Ok(NewSecret { noted: noted_digest(&digest), digest, public_id, text })
    }

    /// The statement that stores the secret of a key, if the statement before it changed something.
    pub fn store(&self, key_id: &str, now_ms: u64) -> Statement {
        Statement::new(
            "INSERT INTO key_secrets (public_id, digest, key_id, created_ms) SELECT ?1, ?2, ?3, ?4 WHERE changes() > 0",
            [self.public_id.as_str().into(), self.digest.as_str().into(), key_id.into(), now_ms.into()],
        )
    }

    /// `gw_` and ten characters.
    pub fn public_id(&self) -> &str {
        &self.public_id
    }

    /// The digest as the audit trail notes it.
    pub fn noted(&self) -> &str {
        &self.noted
    }

    /// Its public part, for the audit trail.
    pub fn note(&self) -> CredentialNote<'_> {
        CredentialNote::Secret { public_id: &self.public_id, sha256: &self.noted }
    }

    /// The digest, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// A new claim link.
pub struct ClaimLink {
    /// The token at the end of the link. Shown once and never stored.
    pub token: String,
    /// The expiry, in milliseconds since 1970.
    pub expires_ms: u64,
    digest: String,
}

impl ClaimLink {
    /// Creates a link with a lifetime in hours.
    pub fn new(hours: u32, now_ms: u64) -> Result<ClaimLink, Error> {
        let token = claim::token(&random::secret_bytes()?);
        let digest = claim::token_digest(&token)
            .ok_or_else(|| Error::new(Code::InternalError, "A claim token is not well-formed"))?;
        Ok(ClaimLink { token, digest, expires_ms: now_ms + u64::from(hours) * 3_600_000 })
    }

    /// The statement that stores the link, if the statement before it changed something.
    pub fn store(&self, key_id: &str, overlap_ms: u64, now_ms: u64) -> Statement {
        Statement::new(
            "INSERT INTO claims (digest, key_id, created_ms, expires_ms, overlap_ms) \
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE changes() > 0",
            [
                self.digest.as_str().into(),
                key_id.into(),
                now_ms.into(),
                self.expires_ms.into(),
                overlap_ms.into(),
            ],
        )
    }
}

/// The first credential of a key.
pub enum Credential {
    /// A secret, which the operator sees.
    Secret(NewSecret),
    /// A claim link, by which the owner gets the secret.
    Claim(ClaimLink),
}

impl Credential {
    /// The statement that stores the credential, if the statement before it changed something.
    pub fn store(&self, key_id: &str, now_ms: u64) -> Statement {
        match self {
            Credential::Secret(secret) => secret.store(key_id, now_ms),
            Credential::Claim(link) => link.store(key_id, 0, now_ms),
        }
    }

    /// The public part, for the audit trail.
    pub fn note(&self) -> CredentialNote<'_> {
        match self {
            Credential::Secret(secret) => secret.note(),
            Credential::Claim(_) => CredentialNote::CLAIM,
        }
    }
}

/// A key to be stored.
pub struct Draft<'a> {
    /// The id.
    pub id: &'a str,
    /// The name.
    pub name: &'a str,
    /// The settings.
    pub settings: &'a Settings,
    /// The developer of the key, if the portal has one.
    pub by_user: Option<&'a str>,
    /// The request for which it is issued.
    pub request_id: Option<&'a str>,
    /// The actor.
    pub created_by: &'a str,
}

impl Draft<'_> {
    /// The statement that stores the key: always, or only if the statement before it changed something.
    pub fn store(&self, only_if_changed: bool, now_ms: u64) -> Statement {
        let row = [
            ("id", self.id.into()),
            ("name", self.name.into()),
            ("policies", text(&self.settings.policies)),
            ("models", text_or_null(self.settings.models.as_ref())),
            ("endpoints", text_or_null(self.settings.endpoints.as_ref())),
            ("limits", text(&self.settings.limits)),
            ("role", self.settings.role.name().into()),
            ("metadata", text(&self.settings.metadata)),
            ("by_user", self.by_user.into()),
            ("request_id", self.request_id.into()),
            ("created_ms", now_ms.into()),
            ("created_by", self.created_by.into()),
            ("expires_ms", self.settings.expires_ms.into()),
        ];
        sql::insert("issued_keys", row, if only_if_changed { "WHERE changes() > 0" } else { "" })
    }
}

fn text_or_null(items: Option<&Vec<String>>) -> Value {
    items.map_or(Value::Null, text)
}

/// The key with a secret of this public id, for the call path: `None` if there is none, or it is revoked.
pub async fn find_by_public_id(env: &Env, public_id: &str) -> Result<Stored, Error> {
    const SQL: &str = "SELECT k.id, k.name, k.disabled, k.expires_ms AS key_expires_ms, s.expires_ms AS secret_expires_ms, \
        k.policies, k.models, k.endpoints, k.limits, s.digest, s.public_id \
        FROM key_secrets s JOIN issued_keys k ON k.id = s.key_id WHERE s.public_id = ?1 AND k.revoked_ms IS NULL";
    match database::run(env, &[Statement::new(SQL, [public_id.into()])]).await {
        Ok(outcomes) => Ok(outcomes.first().and_then(|outcome| outcome.rows.first()).and_then(|row| {
            let digest = Digest::from_hex(row.get("digest")?.as_str()?)?;
            Some((digest, Rc::new(IssuedKey::from_row(row)?)))
        })),
        // Without a database or tables there are no issued keys.
        Err(Failure::NotBound | Failure::NotMigrated) => Ok(None),
        Err(failure) => Err(unavailable(&failure)),
    }
}

/// The public ids of all keys that are not revoked; `None` if there are more than `most`.
pub async fn public_ids(env: &Env, most: u32) -> Result<Option<BTreeSet<String>>, Error> {
    // The secrets of a revoked key are deleted.
    const SQL: &str = "SELECT public_id FROM key_secrets LIMIT ?1";
    let found = run_if_any(env, &[Statement::new(SQL, [(u64::from(most) + 1).into()])]).await?;
    let rows = found.into_iter().next().unwrap_or_default().rows;
    let has_all = rows.len() <= most as usize;
    let ids = rows.iter().filter_map(|row| Some(row.get("public_id")?.as_str()?.to_owned()));
    Ok(has_all.then(|| ids.collect()))
}

/// The key of an id, revoked or not, or of a name: for reading its usage.
pub async fn find_by_name_or_id(env: &Env, name: &str) -> Result<IssuedKey, Error> {
    const SQL: &str = "SELECT id, name, disabled, expires_ms AS key_expires_ms, NULL AS secret_expires_ms, policies, models, \
        endpoints, limits FROM issued_keys WHERE id = ?1 OR (name = ?1 AND revoked_ms IS NULL) ORDER BY revoked_ms LIMIT 1";
    let found = rows(env, SQL, [name.into()]).await?;
    found.first().and_then(IssuedKey::from_row).ok_or_else(|| api_key::unknown(name))
}

/// The issued keys that a list has.
#[derive(Debug, Default)]
pub struct KeyQuery {
    /// A text that occurs in the name, id, metadata, e-mail address or the public id of a secret; letters of ASCII match in
    /// both cases.
    pub search: Option<String>,
    /// A policy of the key.
    pub policy: Option<String>,
    /// The state.
    pub state: Option<State>,
    /// The name after which the list begins.
    pub after: Option<String>,
    /// The most keys; `None` is all.
    pub limit: Option<u32>,
}

/// The keys of a query that are not revoked, sorted by name, and the number of keys that match without `after` and
/// `limit`.
pub async fn list(env: &Env, query: &KeyQuery, now_ms: u64) -> Result<(Vec<ApiKey>, u64), Error> {
    // The state is the one of `ApiKey::document`.
    const MATCHING: &str = "k.revoked_ms IS NULL \
        AND (?1 IS NULL OR iif(k.disabled, 'disabled', iif(k.expires_ms <= ?2, 'expired', 'active')) = ?1) \
        AND (?3 IS NULL OR EXISTS (SELECT 1 FROM json_each(k.policies) WHERE value = ?3)) \
        AND (?4 IS NULL OR instr(lower(k.name || ' ' || k.id || ' ' || k.metadata), ?4) > 0 \
          OR EXISTS (SELECT 1 FROM key_requests r WHERE r.id = k.request_id AND instr(lower(r.email), ?4) > 0) \
          OR EXISTS (SELECT 1 FROM key_secrets s WHERE s.key_id = k.id AND instr(lower(s.public_id), ?4) > 0))";
    let KeyQuery { search, policy, state, after, limit } = query;
    let matching: [Value; 4] = [
        state.map(State::name).into(),
        now_ms.into(),
        policy.as_deref().into(),
        search.as_ref().map(|text| text.to_ascii_lowercase()).into(),
    ];
    let page: [Value; 2] =
        [after.as_deref().unwrap_or_default().into(), limit.map_or(Value::from(-1), Value::from)];
    let statements = [
        Statement::new(
            format!("{SELECT_KEY} WHERE {MATCHING} AND k.name > ?5 ORDER BY k.name LIMIT ?6"),
            [&matching[..], &page].concat(),
        ),
        Statement::new(format!("SELECT count(*) AS count FROM issued_keys k WHERE {MATCHING}"), matching),
    ];
    let outcomes = run(env, &statements).await?;
    let found = outcomes.first().map(|outcome| outcome.rows.as_slice()).unwrap_or_default();
    let count = outcomes.get(1).and_then(|outcome| outcome.rows.first()?.get("count")?.as_u64());
    Ok((found.iter().map(read).collect::<Result<_, _>>()?, count.unwrap_or_default()))
}

fn read(row: &Value) -> Result<ApiKey, Error> {
    ApiKey::from_row(row).ok_or_else(|| Error::new(Code::InternalError, "A stored key cannot be read"))
}

/// The key of a name.
pub async fn get(env: &Env, name: &str) -> Result<ApiKey, Error> {
    let sql = format!("{SELECT_KEY} WHERE k.revoked_ms IS NULL AND k.name = ?1");
    let outcomes = run(env, &[Statement::new(sql, [name.into()])]).await?;
    let row = outcomes.first().and_then(|outcome| outcome.rows.first());
    row.map(read).transpose()?.ok_or_else(|| api_key::unknown(name))
}

/// The owner of a key, as far as the request for it is known.
pub async fn owner(env: &Env, id: &str) -> Result<Owner, Error> {
    const SQL: &str = "SELECT k.by_user, (SELECT r.email FROM key_requests r WHERE r.id = k.request_id) AS email \
        FROM issued_keys k WHERE k.id = ?1";
    let found = rows(env, SQL, [id.into()]).await?;
    let text = |column: &str| found.first().and_then(|row| row[column].as_str()).map(str::to_owned);
    Ok(Owner { by_user: text("by_user"), email: text("email") })
}

/// Stores a new key.
pub async fn create(env: &Env, draft: Draft<'_>, credential: &Credential) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    let made = Change {
        deciding: vec![draft.store(false, now_ms)],
        action: Action {
            actor: draft.created_by,
            subject: draft.name,
            event: Event::KeyCreated {
                key_id: draft.id,
                settings: draft.settings.into(),
                credential: credential.note(),
            },
        },
        then: vec![credential.store(draft.id, now_ms)],
    };
    match change(env, made).await? {
        Changed::Done => Ok(()),
        Changed::Duplicate => Err(api_key::duplicate()),
        Changed::Nothing => Err(Error::new(Code::InternalError, "The key was not stored")),
    }
}

/// Changes the settings of a key. `false` if the key was changed or revoked since it was read.
pub async fn update(env: &Env, key: &ApiKey, settings: &Settings, actor: &str) -> Result<bool, Error> {
    let set = [
        ("disabled = ?", u8::from(settings.disabled).into()),
        ("policies = ?", text(&settings.policies)),
        ("models = ?", text_or_null(settings.models.as_ref())),
        ("endpoints = ?", text_or_null(settings.endpoints.as_ref())),
        ("limits = ?", text(&settings.limits)),
        ("metadata = ?", text(&settings.metadata)),
        ("expires_ms = ?", settings.expires_ms.into()),
        ("version = ?", (key.version + 1).into()),
    ];
    let as_read = [
        ("id = ?", key.id.as_str().into()),
        ("version = ?", key.version.into()),
        ("revoked_ms IS ?", Value::Null),
    ];
    let event = Event::KeyUpdated { key_id: &key.id, settings: settings.into(), was: (&key.settings).into() };
    let action = Action { actor, subject: &key.name, event };
    let deciding = vec![sql::update("issued_keys", set, as_read)];
    Ok(matches!(change(env, Change { deciding, action, then: vec![] }).await?, Changed::Done))
}

/// Revokes a key: deletes its secrets and claim links, and frees its name.
pub async fn revoke(env: &Env, key: &ApiKey, actor: &str) -> Result<(), Error> {
    let id = || [Value::from(key.id.as_str())];
    let revoked = Statement::new(
        "UPDATE issued_keys SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL",
        [key.id.as_str().into(), clock::now_ms().into()],
    );
    let then = vec![
        Statement::new("DELETE FROM key_secrets WHERE key_id = ?1", id()),
        Statement::new("DELETE FROM claims WHERE key_id = ?1", id()),
    ];
    settle(env, key, revoked, actor, Event::KeyRevoked { key_id: &key.id, was: (&key.settings).into() }, then)
        .await
}

/// Adds a secret to a key, and sets the expiry of the older ones.
pub async fn rotate(
    env: &Env,
    key: &ApiKey,
    secret: &NewSecret,
    overlap_ms: u64,
    actor: &str,
) -> Result<u64, Error> {
    let now_ms = clock::now_ms();
    let ends_ms = now_ms + overlap_ms;
    let stored = Statement::new(
        "INSERT INTO key_secrets (public_id, digest, key_id, created_ms) \
         SELECT ?1, ?2, id, ?4 FROM issued_keys WHERE id = ?3 AND revoked_ms IS NULL",
        [secret.public_id().into(), secret.digest().into(), key.id.as_str().into(), now_ms.into()],
    );
    let event =
        Event::KeyRotated { key_id: &key.id, credential: secret.note(), overlap_seconds: overlap_ms / 1000 };
    let mut then = end_older_secrets(&key.id, secret.public_id(), ends_ms, now_ms);
    then.push(end_older_links(&key.id, None, now_ms));
    settle(env, key, stored, actor, event, then).await?;
    Ok(ends_ms)
}

/// The same for the holder of a key, who sent the secret with the public id `sent`. `None` if that secret has been
/// replaced by an earlier rotation: otherwise the finder of an old secret could shut out the holder of the new one. Claim
/// links stay, since an operator made them.
pub async fn rotate_own(
    env: &Env,
    key: &ApiKey,
    sent: &str,
    secret: &NewSecret,
    overlap_ms: u64,
    notifies: bool,
) -> Result<Option<u64>, Error> {
    let now_ms = clock::now_ms();
    let ends_ms = now_ms + overlap_ms;
    let stored = Statement::new(
        "INSERT INTO key_secrets (public_id, digest, key_id, created_ms) SELECT ?1, ?2, k.id, ?4 \
         FROM issued_keys k JOIN key_secrets s ON s.key_id = k.id WHERE k.id = ?3 AND k.revoked_ms IS NULL AND k.disabled = 0 \
         AND s.public_id = ?5 AND s.expires_ms IS NULL",
        [
            secret.public_id().into(),
            secret.digest().into(),
            key.id.as_str().into(),
            now_ms.into(),
            sent.into(),
        ],
    );
    let event =
        Event::KeyRotated { key_id: &key.id, credential: secret.note(), overlap_seconds: overlap_ms / 1000 };
    let mut then = Vec::new();
    if notifies {
        let rotated = Rotated {
            key_id: &key.id,
            name: &key.name,
            email: key.email.as_deref(),
            public_id: secret.public_id(),
            previous_expires_at: &to_rfc3339(ends_ms),
        };
        let kind = webhook::Event::Rotated;
        let body = webhook::body(kind.name(), now_ms, &rotated);
        then.push(notifications::write(secret.public_id(), kind, body, now_ms));
    }
    then.extend(end_older_secrets(&key.id, secret.public_id(), ends_ms, now_ms));
    let action = Action { actor: HOLDER, subject: &key.name, event };
    match change(env, Change { deciding: vec![stored], action, then }).await? {
        Changed::Done => Ok(Some(ends_ms)),
        Changed::Nothing | Changed::Duplicate => Ok(None),
    }
}

/// Creates a claim link by which the owner of a key gets another secret.
pub async fn offer_claim(
    env: &Env,
    key: &ApiKey,
    link: &ClaimLink,
    overlap_ms: u64,
    actor: &str,
) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    let offered = Statement::new(
        "INSERT INTO claims (digest, key_id, created_ms, expires_ms, overlap_ms) \
         SELECT ?1, id, ?3, ?4, ?5 FROM issued_keys WHERE id = ?2 AND revoked_ms IS NULL",
        [
            link.digest.as_str().into(),
            key.id.as_str().into(),
            now_ms.into(),
            link.expires_ms.into(),
            overlap_ms.into(),
        ],
    );
    let event = Event::KeyRotated {
        key_id: &key.id,
        credential: CredentialNote::CLAIM,
        overlap_seconds: overlap_ms / 1000,
    };
    let then = vec![end_older_links(&key.id, Some(link), now_ms)];
    settle(env, key, offered, actor, event, then).await
}

/// The statement that ends the unused claim links of a key, but for a new one: whoever rotates a key means to shut out the
/// holders of its older secrets and links. Without effect if the key has been revoked, which removes all links.
fn end_older_links(key_id: &str, but: Option<&ClaimLink>, now_ms: u64) -> Statement {
    Statement::new(
        "UPDATE claims SET expires_ms = min(expires_ms, ?3) WHERE key_id = ?1 AND digest <> ?2 AND used_ms IS NULL",
        [key_id.into(), but.map_or("", |link| &link.digest).into(), now_ms.into()],
    )
}

/// Statements that set the expiry of all secrets of a key except one, and delete expired ones, if that one was stored.
pub fn end_older_secrets(key_id: &str, public_id: &str, ends_ms: u64, now_ms: u64) -> Vec<Statement> {
    vec![
        Statement::new(
            "UPDATE key_secrets SET expires_ms = min(coalesce(expires_ms, ?3), ?3) WHERE key_id = ?1 AND public_id <> ?2 \
             AND EXISTS (SELECT 1 FROM key_secrets WHERE public_id = ?2)",
            [key_id.into(), public_id.into(), ends_ms.into()],
        ),
        Statement::new(
            "DELETE FROM key_secrets WHERE key_id = ?1 AND expires_ms <= ?2",
            [key_id.into(), now_ms.into()],
        ),
    ]
}

/// Makes a change of one key. If it has no effect, the key was revoked in the meantime.
async fn settle(
    env: &Env,
    key: &ApiKey,
    deciding: Statement,
    actor: &str,
    event: Event<'_>,
    then: Vec<Statement>,
) -> Result<(), Error> {
    let action = Action { actor, subject: &key.name, event };
    match change(env, Change { deciding: vec![deciding], action, then }).await? {
        Changed::Done => Ok(()),
        Changed::Nothing | Changed::Duplicate => Err(api_key::unknown(&key.name)),
    }
}
