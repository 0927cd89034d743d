//! `/v0/alerts`: the alerts that hold, their last changes, settings and channels, and a test of the channels. The settings
//! are changed by [`super::settings`].

use gatehouse_core::alerts::{self, AlertChange, AlertDocument, Channel};
use gatehouse_core::config::Alerts;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Caller;
use serde::Serialize;

use crate::isolate::Isolate;
use crate::objects::notifier;
use crate::platform::clock;
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::store;

/// The response of `GET /v0/alerts`.
#[derive(Serialize)]
struct AlertList<'a> {
    /// The alerts that hold.
    data: Vec<AlertDocument>,
    /// The last changes, newest first.
    changes: Vec<AlertChange>,
    /// The settings.
    settings: &'a Alerts,
    channels: Vec<ChannelState>,
}

/// A channel.
#[derive(Serialize)]
struct ChannelState {
    channel: &'static str,
    configured: bool,
    /// The settings that it needs.
    needs: &'static str,
}

/// The settings that a channel needs.
fn needs(channel: Channel) -> &'static str {
    match channel {
        Channel::Webhook => "webhook.url and the secret GATEWAY_WEBHOOK_SECRET",
        Channel::Slack => "the secret GATEWAY_SLACK_URL",
        Channel::Email => "alerts.email, email.from and the binding GATEWAY_EMAIL",
    }
}

/// `GET /v0/alerts`
pub async fn list(context: &RequestContext<'_>, isolate: &Isolate) -> Result<Response, Error> {
    let settings = &isolate.settings;
    let found = store::alerts::list(&context.env).await?;
    let ready = settings.channels(&context.env);
    let channels = Channel::ALL.into_iter().map(|channel| ChannelState {
        channel: channel.name(),
        configured: ready.contains(&channel)
            && (channel != Channel::Webhook || settings.signing_key.is_some()),
        needs: needs(channel),
    });
    let list = AlertList {
        changes: store::alerts::changes(&context.env).await?,
        data: found.into_iter().map(|alert| alert.document("firing")).collect(),
        settings: &settings.config.alerts,
        channels: channels.collect(),
    };
    Ok(Response::json(200, &list))
}

/// `POST /v0/alerts/test`
pub async fn test(context: &RequestContext<'_>, operator: &Caller) -> Result<Response, Error> {
    let document = AlertDocument::firing(&alerts::test(&operator.label), clock::now_ms());
    let tested = notifier::test(&context.env, &document).await;
    let text = tested.map_err(|_| {
        Error::new(
            Code::StorageUnavailable,
            "The object that sends notifications does not respond; try again",
        )
    })?;
    text.map(|text| Response::json_text(200, text)).ok_or_else(|| {
        let all = Channel::ALL.map(|one| format!("{} ({})", one.name(), needs(one)));
        let message = format!("No channel for alerts is configured; configure one of: {}", all.join(", "));
        Error::new(Code::NoAlertChannel, message)
    })
}
