//! Authentication of operators by Cloudflare Access, if it is configured: checks the token that Access adds to a request.
//!
//! Access protects the addresses of the console and of the operators' API at Cloudflare's edge; the gateway does not start
//! a login. The token is sent because the browser has a cookie, whatever page made the request. So a request from a page
//! of another host is not authenticated by it.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::access_token::{AccessToken, PublicKey};
use gatehouse_core::key::{Caller, Digest};
use gatehouse_core::routes::Audience;

use super::wrong_keys::{check_not_blocked, failed};
use crate::isolate::Isolate;
use crate::platform::{clock, log, signature};
use crate::request_context::RequestContext;

/// The header of the token.
const TOKEN: &str = "cf-access-jwt-assertion";

/// The operator whose token the request has; `None` without a token, or where tokens do not authenticate.
pub async fn operator(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    audience: Audience,
) -> Result<Option<Caller>, Error> {
    let settings = &isolate.settings.config.cloudflare_access;
    if audience == Audience::Inference || settings.team_url.is_none() {
        return Ok(None);
    }
    let Some(text) = context.header(TOKEN) else { return Ok(None) };
    if context.is_of_other_origin(&isolate.settings.config) {
        let message = "Cloudflare Access does not authenticate requests from pages of other hosts; send an operator key";
        return Err(Error::new(Code::PermissionDenied, message));
    }
    check_not_blocked(context, isolate)?;
    match identity(isolate, &text).await? {
        Ok(identity) if settings.is_operator(&identity) => Ok(Some(Caller::operator(identity.into()))),
        Ok(_) => {
            let message = "access denied: Cloudflare Access has let you pass, but you are not among cloudflare_access.operators \
                           of this gateway";
            Err(Error::new(Code::PermissionDenied, message))
        }
        Err(fault) => {
            let message = format!("Unauthorized: the token of Cloudflare Access is not valid here: {fault}");
            // The message of a 401 under /v0 is fixed.
            let details = serde_json::json!({ "access_token": fault });
            let error = Error::new(Code::InvalidApiKey, message).with_details(details);
            Err(failed(context, isolate, &Digest::of(text.as_bytes()), error).await)
        }
    }
}

/// The identity that a token proves; the inner error is why it proves none.
async fn identity(isolate: &Isolate, text: &str) -> Result<Result<String, &'static str>, Error> {
    let token = match AccessToken::read(text) {
        Ok(token) => token,
        Err(fault) => return Ok(Err(fault)),
    };
    // The claims are checked first: a token of another team is no reason to read keys.
    let identity = match token.check(&isolate.settings.config.cloudflare_access, clock::now_ms()) {
        Ok(identity) => identity,
        Err(fault) => return Ok(Err(fault)),
    };
    let Some(key) = public_key(isolate, &token.key_id).await? else {
        return Ok(Err("it is signed with a key that the team does not have"));
    };
    let is_signed = signature::is_signed(&token, &key).await;
    Ok(if is_signed { Ok(identity.to_owned()) } else { Err("its signature does not match") })
}

/// The team's public key of this id, read again if need be; the error is that none can be read.
async fn public_key(isolate: &Isolate, id: &str) -> Result<Option<PublicKey>, Error> {
    let should_read = isolate.access_keys.borrow_mut().should_read(id, clock::now_ms());
    if should_read && let Some(team_url) = &isolate.settings.config.cloudflare_access.team_url {
        let url = format!("{}/cdn-cgi/access/certs", team_url.as_str());
        let kept = signature::read_keys(&url).await.and_then(|response| {
            let kept = isolate.access_keys.borrow_mut().keep(&response, clock::now_ms());
            if kept { Ok(()) } else { Err("the response has no public keys".to_owned()) }
        });
        if let Err(detail) = kept {
            let error = "the public keys of Cloudflare Access cannot be read";
            log::line(&log::Event::Setting { error, detail: &detail });
        }
    }
    let keys = isolate.access_keys.borrow();
    match keys.find(id) {
        Some(key) => Ok(Some(key.clone())),
        None if keys.is_empty() => {
            let message = "The public keys of the Cloudflare Access team cannot be read; try again in a minute, or send an \
                           operator key";
            Err(Error::new(Code::AccessKeysUnavailable, message))
        }
        None => Ok(None),
    }
}
