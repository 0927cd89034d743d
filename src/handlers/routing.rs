//! `GET /v1/routing/status` and `GET /v1/stats/providers`: how models and providers are doing, for anybody.

use std::rc::Rc;

use gatehouse_core::report::routing;

use super::{Call, board};
use crate::gateway::Gateway;
use crate::platform::clock;
use crate::platform::reply::Reply;

/// Every listed model, in the order in which `auto` would try them.
pub async fn status(call: &Call<'_>, gateway: &Rc<Gateway>) -> Reply {
    board::news(call, gateway).await;
    Reply::json(
        200,
        &routing::status(&gateway.board.borrow(), &gateway.config, &gateway.registry, clock::now_ms()),
    )
}

/// What has been counted of each provider.
pub async fn provider_stats(call: &Call<'_>, gateway: &Rc<Gateway>) -> Reply {
    board::news(call, gateway).await;
    Reply::json(200, &routing::provider_stats(&gateway.board.borrow(), &gateway.registry, clock::now_ms()))
}
