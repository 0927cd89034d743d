//! The state of the gateway, as `GET /health` reports it; the health of its models is a report of the core.

use crate::platform::database::DatabaseState;

/// The state of the gateway, without the health of its models.
pub struct GatewayState {
    /// Whether there is any key, so that anybody can call.
    pub keys: bool,
    /// The state of the database.
    pub database: DatabaseState,
    /// What keeps the gateway from working, for people.
    pub problems: Vec<&'static str>,
}
