//! Projects: a name that a caller gives its calls, for its own accounting. It is never sent upstream.

use crate::config::ProjectIdRule;
use crate::error::{Code, Error};
use crate::name::is_name;

/// The header that names a project; it overrides the body's `project_id`.
pub const HEADER: &str = "x-gateway-project-id";

/// The maximum length of a project name, in characters.
const MAX_LENGTH: usize = 64;

/// The project of a call, from the header and the field of the body.
pub fn choose(
    header: Option<String>,
    field: Option<String>,
    rule: ProjectIdRule,
) -> Result<Option<String>, Error> {
    let header = header.map(|id| id.trim().to_owned());
    if [&header, &field].into_iter().flatten().any(|id| !is_name(id, MAX_LENGTH)) {
        return Err(invalid());
    }
    match header.or(field) {
        None if rule == ProjectIdRule::Required => Err(invalid()),
        project => Ok(project),
    }
}

/// The error for an invalid or missing project.
pub fn invalid() -> Error {
    Error::new(
        Code::InvalidProjectId,
        "Missing or invalid project_id. Use 1-64 chars [a-zA-Z0-9._:-], in the body or in the header X-Gateway-Project-Id",
    )
    .with_param("project_id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: Option<&str>, field: Option<&str>, rule: ProjectIdRule) -> Result<Option<String>, u16> {
        choose(header.map(str::to_owned), field.map(str::to_owned), rule).map_err(|error| error.status)
    }

    #[test]
    fn the_header_overrides_the_field_and_both_must_be_valid() {
        use ProjectIdRule::{Optional, Required};
        let long = "x".repeat(65);
        for (header, field, rule, expected) in [
            (None, None, Optional, Ok(None)),
            (None, None, Required, Err(400)),
            (Some(" a "), Some("b"), Required, Ok(Some("a".to_owned()))),
            (None, Some("my.project:1_-"), Optional, Ok(Some("my.project:1_-".to_owned()))),
            (Some(&long[1..]), None, Optional, Ok(Some(long[1..].to_owned()))),
            (Some(long.as_str()), None, Optional, Err(400)),
            (Some("a/b"), None, Optional, Err(400)),
            (Some("a"), Some("a b"), Optional, Err(400)),
            (Some(""), None, Optional, Err(400)),
        ] {
            assert_eq!(check(header, field, rule), expected, "{header:?} {field:?}");
        }
    }
}
