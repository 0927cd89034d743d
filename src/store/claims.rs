//! Claim links: looking up and redeeming.

use gatehouse_core::error::Error;
use gatehouse_core::onboarding::audit::{Action, Event};
use gatehouse_core::onboarding::claim::{self, Claim};
use serde::Deserialize;
use worker::Env;

use super::change::{Change, Changed, change};
use super::keys::{NewSecret, end_older_secrets};
use super::sql::rows;
use crate::platform::clock;
use crate::platform::database::Statement;

/// A link and its key.
#[derive(Debug, Deserialize)]
pub struct Found {
    digest: String,
    key_id: String,
    /// The key's name.
    pub name: String,
    expires_ms: u64,
    overlap_ms: u64,
    used_ms: Option<u64>,
}

impl Found {
    /// Checks that the link can be used now.
    pub fn check(&self, now_ms: u64) -> Result<(), Error> {
        Claim { used_ms: self.used_ms, expires_ms: self.expires_ms }.check(now_ms)
    }
}

/// The link of a token.
pub async fn find(env: &Env, token: &str) -> Result<Found, Error> {
    let digest = claim::token_digest(token).ok_or_else(claim::not_found)?;
    let sql = "SELECT c.digest, c.key_id, k.name, c.expires_ms, c.overlap_ms, c.used_ms \
               FROM claims c JOIN issued_keys k ON k.id = c.key_id WHERE c.digest = ?1 AND k.revoked_ms IS NULL";
    let found = rows(env, sql, [digest.into()]).await?;
    found.first().and_then(|row| Found::deserialize(row).ok()).ok_or_else(claim::not_found)
}

/// Redeems a link: the secret is stored and the link is used up, or neither. Of any number of concurrent attempts one
/// succeeds.
pub async fn redeem(env: &Env, found: &Found, secret: &NewSecret) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    let spent = Statement::new(
        "UPDATE claims SET used_ms = ?2, public_id = ?3 WHERE digest = ?1 AND used_ms IS NULL AND expires_ms > ?2 \
         AND EXISTS (SELECT 1 FROM issued_keys WHERE id = claims.key_id AND revoked_ms IS NULL)",
        [found.digest.as_str().into(), now_ms.into(), secret.public_id().into()],
    );
    let claimed = Change {
        deciding: vec![spent, secret.store(&found.key_id, now_ms)],
        action: Action {
            actor: "claim link",
            subject: &found.name,
            event: Event::KeyClaimed { key_id: &found.key_id, public_id: secret.public_id() },
        },
        then: end_older_secrets(&found.key_id, secret.public_id(), now_ms + found.overlap_ms, now_ms),
    };
    match change(env, claimed).await? {
        Changed::Done => Ok(()),
        // Another attempt was faster, or the link has just expired, or the key has been revoked.
        Changed::Nothing | Changed::Duplicate => {
            Claim { used_ms: Some(now_ms), expires_ms: found.expires_ms }.check(now_ms)
        }
    }
}
