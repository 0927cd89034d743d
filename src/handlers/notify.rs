//! Telling the webhook: around a transaction that writes a notification.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::onboarding::key_request::{DeveloperKey, KeyRequest};
use serde_json::Value;

use super::Call;
use crate::gateway::Gateway;
use crate::objects::notifier;
use crate::platform::task;
use crate::store::requests;

/// What is needed to tell the webhook about a request, if there is a webhook.
pub struct Telling<'g> {
    gateway: &'g Gateway,
    /// The keys that the developer has already; `None` where nobody is told.
    keys: Option<Vec<DeveloperKey>>,
}

/// To be called before the transaction: from then on the notification will be found, whoever dies.
pub async fn expect<'g>(call: &Call<'_>, gateway: &'g Gateway, by_user: &str) -> Result<Telling<'g>, Error> {
    if gateway.config.webhook.url.is_none() {
        return Ok(Telling { gateway, keys: None });
    }
    notifier::expect(&call.env).await.map_err(|_| {
        Error::new(Code::StorageUnavailable, "The gateway cannot notify its operator now; try again")
    })?;
    let keys = requests::keys_of(&call.env, &[by_user]).await?.into_iter().map(|(_, key)| key).collect();
    Ok(Telling { gateway, keys: Some(keys) })
}

impl Telling<'_> {
    /// The request as operators see it once the transaction is made; `None` where nobody is told.
    pub fn words(&self, request: &KeyRequest) -> Option<Value> {
        let mut keys = self.keys.clone()?;
        if let Some(id) = &request.key_id {
            keys.push(DeveloperKey { id: id.clone(), policies: request.asked.policies.clone() });
        }
        Some(request.to_portal(&keys, &self.gateway.config))
    }

    /// To be called after the transaction.
    pub fn wake(&self, call: &Call<'_>) {
        if self.keys.is_some() {
            let env = call.env.clone();
            task::run_behind(&call.context, async move { notifier::wake(&env).await });
        }
    }
}
