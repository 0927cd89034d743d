//! Telling the webhook: around a transaction that writes a notification.

use gatehouse_core::error::{Code, Error};

use super::Call;
use crate::gateway::Gateway;
use crate::objects::notifier;

/// To be called before the transaction. Whether there is a webhook to be told at all.
pub async fn expect(call: &Call<'_>, gateway: &Gateway) -> Result<bool, Error> {
    if gateway.config.webhook.url.is_none() {
        return Ok(false);
    }
    notifier::expect(&call.env).await.map(|()| true).map_err(|_| {
        Error::new(Code::StorageUnavailable, "The gateway cannot notify its operator now; try again")
    })
}

/// To be called after it.
pub fn wake(call: &Call<'_>, told: bool) {
    if told {
        let env = call.env.clone();
        call.context.wait_until(async move { notifier::wake(&env).await });
    }
}
