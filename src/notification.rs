//! Notifications to the operator's webhook, before and after the transaction that writes one. The `Notifier` object
//! delivers them.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::onboarding::webhook::Notification;

use crate::objects::notifier;
use crate::platform::{clock, task};
use crate::request_context::RequestContext;
use crate::settings::Settings;
use crate::store::requests;

/// Prepares a notification before the transaction that writes it. From then on the `Notifier` finds it, even if this
/// request dies. `None` if no webhook is configured.
pub async fn prepare<'s>(
    context: &RequestContext<'_>,
    settings: &'s Settings,
    by_user: &str,
) -> Result<Option<Notification<'s>>, Error> {
    let config = &settings.config;
    if config.webhook.url.is_none() {
        return Ok(None);
    }
    notifier::expect(&context.env).await.map_err(|_| {
        Error::new(Code::StorageUnavailable, "The gateway cannot notify its operator now; try again")
    })?;
    let keys = requests::keys_of(&context.env, &[by_user]).await?.into_iter().map(|(_, key)| key).collect();
    Ok(Some(Notification { config, keys, at_ms: clock::now_ms() }))
}

/// Wakes the `Notifier` after the transaction and after the response.
pub fn deliver_after_response(context: &RequestContext<'_>, notification: Option<&Notification<'_>>) {
    if notification.is_some() {
        let env = context.env.clone();
        task::after_response(&context.execution, async move { notifier::wake(&env).await });
    }
}
