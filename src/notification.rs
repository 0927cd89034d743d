//! Notifications to the operator's webhook, before and after the transaction that writes one. The `Notifier` object
//! delivers them.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::onboarding::webhook::Notification;

use crate::objects::notifier;
use crate::platform::{clock, task};
use crate::request_context::RequestContext;
use crate::settings::Settings;
use crate::store::requests;

/// Prepares a notification of a key request before the transaction that writes it. `None` if no webhook is configured.
pub async fn prepare<'s>(
    context: &RequestContext<'_>,
    settings: &'s Settings,
    by_user: &str,
) -> Result<Option<Notification<'s>>, Error> {
    if !expect(context, settings).await? {
        return Ok(None);
    }
    let config = &settings.config;
    let keys = requests::keys_of(&context.env, &[by_user]).await?.into_iter().map(|(_, key)| key).collect();
    Ok(Some(Notification { config, keys, at_ms: clock::now_ms() }))
}

/// Prepares the `Notifier` before a transaction that writes a notification. From then on it finds the notification, even if
/// this request dies. `false` if no webhook is configured.
pub async fn expect(context: &RequestContext<'_>, settings: &Settings) -> Result<bool, Error> {
    if settings.config.webhook.url.is_none() {
        return Ok(false);
    }
    let expected = notifier::expect(&context.env).await;
    let message = "The gateway cannot notify its operator now; try again";
    expected.map(|()| true).map_err(|_| Error::new(Code::StorageUnavailable, message))
}

/// Wakes the `Notifier` after the transaction and after the response.
pub fn deliver_after_response(context: &RequestContext<'_>, notification: Option<&Notification<'_>>) {
    wake_after_response(context, notification.is_some());
}

/// The same for a notification that is written if `notifies`.
pub fn wake_after_response(context: &RequestContext<'_>, notifies: bool) {
    if notifies {
        let env = context.env.clone();
        task::after_response(&context.execution, async move { notifier::wake(&env).await });
    }
}
