//! The state of the gateway, as `GET /health` reports it; the health of its models is a report of the core.

use crate::platform::database::DatabaseState;

/// The state of the gateway, without the health of its models.
pub struct GatewayState {
    /// At least one key is configured, so that calls are possible.
    pub keys: bool,
    /// The state of the database.
    pub database: DatabaseState,
    /// The problems that prevent calls, as sentences.
    pub problems: Vec<&'static str>,
}
