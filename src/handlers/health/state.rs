//! The state of the gateway, as `GET /health` reports it, the health of its models apart.

use crate::platform::database::DatabaseState;

/// The state of the gateway, but for how its models are doing.
pub struct State {
    /// Whether there is any key, so that anybody can call.
    pub keys: bool,
    /// The state of the database.
    pub database: DatabaseState,
    /// What keeps it from being of use.
    pub problems: Vec<&'static str>,
}
