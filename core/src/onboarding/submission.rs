//! The body of `POST /access/request-key`: an address for the response, and the purpose of the key.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use validator::{Validate, ValidateLength as _, ValidationError};

use crate::error::{Code, Error};
use crate::json::Object;
use crate::request_id;
use crate::text::{Faults, email, invalid, visible, visible_lines};

/// The maximum length of a use case, in characters.
pub const MAX_USE_CASE: u64 = 2000;

/// A key request, valid and trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The requester's e-mail address.
    pub email: String,
    /// `use_case`, and the optional statements: `name`, `company`, `intended_use`, `expected_daily_requests`.
    pub fields: BTreeMap<String, String>,
}

/// The fields of an HTML form, as they were sent. A form sends a field that was left empty as an empty text.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body of the type `application/x-www-form-urlencoded`.
    pub fn read(body: &[u8]) -> Form {
        let fields = form_urlencoded::parse(body);
        Form(fields.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first field of a name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The fields as an object. An optional field that was left empty is missing in it.
    fn to_object(&self) -> Object {
        let fields = FIELDS.into_iter().filter_map(|name| {
            let text = self.get(name);
            let value = match (name, text.trim().parse::<u64>()) {
                ("expected_daily_requests", Ok(number)) => Value::from(number),
                // Browsers end the lines of a text with CRLF.
                _ => Value::from(text.replace("\r\n", "\n")),
            };
            let is_kept = matches!(name, "email" | "use_case") || !text.trim().is_empty();
            is_kept.then(|| (name.to_owned(), value))
        });
        Object::of(fields.collect())
    }
}

/// The fields of a body that have the right types, trimmed.
#[derive(Validate)]
struct Fields {
    #[validate(custom(function = "is_email"))]
    email: Option<String>,
    #[validate(length(min = 1, max = MAX_USE_CASE), custom(function = "visible_lines"))]
    use_case: Option<String>,
    #[validate(length(min = 2, max = 80), custom(function = "visible"))]
    name: Option<String>,
    #[validate(length(max = 120), custom(function = "visible"))]
    company: Option<String>,
    #[validate(custom(function = "is_known_use"))]
    intended_use: Option<String>,
    #[validate(range(min = 1, max = 200_000))]
    expected_daily_requests: Option<u64>,
}

/// The order in which faults are reported.
const FIELDS: [&str; 6] = ["email", "use_case", "name", "company", "intended_use", "expected_daily_requests"];

fn is_email(text: &str) -> Result<(), ValidationError> {
    Ok(email(text).map(|_| ())?)
}

fn is_known_use(text: &str) -> Result<(), ValidationError> {
    if matches!(text, "personal" | "internal" | "production") {
        return Ok(());
    }
    Err(invalid("intended_use", "must be 'personal', 'internal' or 'production'").into())
}

impl Submission {
    /// Reads a body. The error names every fault, and the first field at fault as its `param`.
    pub fn read(body: &[u8]) -> Result<Submission, Error> {
        Submission::of(&Object::read(body)?)
    }

    /// Reads the same fields from a form.
    pub fn read_form(form: &Form) -> Result<Submission, Error> {
        Submission::of(&form.to_object())
    }

    fn of(object: &Object) -> Result<Submission, Error> {
        let mut faults = Faults::default();
        let trimmed = |text: &str| text.trim().to_owned();
        let intended_use = faults.note("intended_use", object.string("intended_use")).flatten();
        let expected = faults.note("expected_daily_requests", object.integer("expected_daily_requests"));
        let fields = Fields {
            email: faults
                .note("email", object.required_string("email"))
                .map(|text| text.trim_matches(' ').to_owned()),
            use_case: faults.note("use_case", object.required_string("use_case")).map(trimmed),
            name: faults.note("name", object.string("name")).flatten().map(trimmed),
            company: faults.note("company", object.string("company")).flatten().map(trimmed),
            intended_use: intended_use.map(str::to_owned),
            expected_daily_requests: expected.flatten(),
        };
        faults.note_all(fields.validate());
        faults.into_result(&FIELDS)?;

        let Fields { email, use_case, name, company, intended_use, expected_daily_requests } = fields;
        let named = [
            ("use_case", use_case),
            ("name", name),
            ("company", company),
            ("intended_use", intended_use),
            ("expected_daily_requests", expected_daily_requests.map(|number| number.to_string())),
        ];
        let fields = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Ok(Submission { email: email.unwrap_or_default(), fields })
    }

    /// The developer id of the address: 24 hexadecimal digits, the same for all its requests.
    pub fn by_user(&self) -> String {
        developer_id(&self.email)
    }
}

/// The developer id of an e-mail address.
pub fn developer_id(email: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(email.to_ascii_lowercase()));
    digits.truncate(24);
    digits
}

/// A new id of a request: `kreq_` and a ULID in lower case.
pub fn new_request_id(now_ms: u64, random: [u8; 10]) -> String {
    format!("kreq_{}", request_id::generate(now_ms, random).to_ascii_lowercase())
}

/// The message of the response.
pub fn received_message(email: &str) -> String {
    format!("Your request has been received. An operator will review it and reach out to you at {email}.")
}

/// The maximum length of an `Idempotency-Key`, in characters.
const MAX_IDEMPOTENCY_KEY: u64 = 255;

/// Checks the header `Idempotency-Key`.
pub fn idempotency_key(header: Option<String>) -> Result<Option<String>, Error> {
    match header {
        Some(key)
            if !key.validate_length(Some(1), Some(MAX_IDEMPOTENCY_KEY), None)
                || !key.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            let message =
                format!("'Idempotency-Key' must be 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters");
            Err(Error::new(Code::InvalidValue, message).with_param("idempotency-key"))
        }
        key => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &serde_json::Value) -> Result<Submission, Error> {
        Submission::read(body.to_string().as_bytes())
    }

    #[test]
    fn accepts_the_example_of_the_documentation() {
        let submission = read(&json!({
            "email": "user@example.com",
            "use_case": "Building a customer support chatbot for an e-commerce store.",
        }))
        .unwrap();
        assert_eq!(submission.email, "user@example.com");
        assert_eq!(submission.fields.len(), 1);
        assert_eq!(submission.by_user().len(), 24);
        assert_eq!(submission.by_user(), developer_id("USER@example.com"));
        assert!(received_message(&submission.email).ends_with("reach out to you at user@example.com."));
    }

    #[test]
    fn legacy_fields_are_kept_and_unknown_ones_ignored() {
        let submission = read(&json!({
            "email": " user@example.com ", "use_case": " line one\nline two ", "name": "Ada", "company": "",
            "intended_use": "internal", "expected_daily_requests": 200_000, "newsletter": true,
        }))
        .unwrap();
        let fields: Vec<_> =
            submission.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            fields,
            [
                ("company", ""),
                ("expected_daily_requests", "200000"),
                ("intended_use", "internal"),
                ("name", "Ada"),
                ("use_case", "line one\nline two"),
            ]
        );
    }

    #[test]
    fn each_fault_has_a_clear_message() {
        let long = "x".repeat(2001);
        for (changed, code, param, part) in [
            (json!({"email": null}), "missing_member", "email", "'email' is missing"),
            (json!({"email": 5}), "invalid_type", "email", "must be a string"),
            (json!({"email": ""}), "invalid_value", "email", "must not be empty"),
            (json!({"email": "no address"}), "invalid_value", "email", "user@example.com"),
            (json!({"email": "a@example.com\r\nBcc: all@example.com"}), "invalid_value", "email", "U+000D"),
            (json!({"email": "é@example.com"}), "invalid_value", "email", "ASCII"),
            (
                json!({"email": format!("{}@example.com", "x".repeat(250))}),
                "invalid_value",
                "email",
                "at most 254",
            ),
            (json!({"use_case": null}), "missing_member", "use_case", "missing"),
            (json!({"use_case": ["x"]}), "invalid_type", "use_case", "string"),
            (json!({"use_case": " \n"}), "invalid_value", "use_case", "must not be empty"),
            (json!({"use_case": long}), "invalid_value", "use_case", "at most 2000 characters; it has 2001"),
            (json!({"use_case": "bell \u{7}"}), "invalid_value", "use_case", "U+0007"),
            (json!({"name": "x"}), "invalid_value", "name", "2 to 80"),
            (json!({"company": "x".repeat(121)}), "invalid_value", "company", "at most 120"),
            (json!({"intended_use": "fun"}), "invalid_value", "intended_use", "'personal'"),
            (json!({"expected_daily_requests": 0}), "invalid_value", "expected_daily_requests", "between"),
            (
                json!({"expected_daily_requests": "5"}),
                "invalid_type",
                "expected_daily_requests",
                "whole number",
            ),
        ] {
            let mut body = json!({"email": "a@example.com", "use_case": "to test"});
            body.as_object_mut().unwrap().append(&mut changed.as_object().unwrap().clone());
            let error = read(&body).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), Some(param)), "{changed}");
            assert!(error.message.contains(part), "{changed}: {}", error.message);
        }
        let error = read(&json!({"email": "x", "use_case": 1, "name": "y"})).unwrap_err();
        assert_eq!((error.code(), error.param.as_deref()), (Some("invalid_value"), Some("email")));
        assert_eq!(
            error.message,
            "'email' must be an e-mail address, such as user@example.com; 'use_case' must be a string; \
             'name' must have 2 to 80 characters; it has 1"
        );
    }

    #[test]
    fn a_form_has_the_same_fields_and_its_empty_ones_are_missing() {
        let body = b"email=a%40example.com&use_case=to+test%0D%0Amore&name=&company=&intended_use=&expected_daily_requests=+20+&once=k";
        let form = Form::read(body);
        let submission = Submission::read_form(&form).unwrap();
        assert_eq!((submission.email.as_str(), form.get("once"), form.get("x")), ("a@example.com", "k", ""));
        let fields: Vec<_> = submission.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(fields, [("expected_daily_requests", "20"), ("use_case", "to test\nmore")]);
        for (body, param) in [
            ("", "email"),
            ("email=a%40example.com&use_case=+", "use_case"),
            ("email=a%40example.com&use_case=x&expected_daily_requests=many", "expected_daily_requests"),
            ("email=a%40example.com&use_case=x&intended_use=fun", "intended_use"),
        ] {
            let error = Submission::read_form(&Form::read(body.as_bytes())).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn ids_are_lower_case_ulids() {
        let id = new_request_id(1_700_000_000_000, [255; 10]);
        assert_eq!(id.len(), 31);
        assert!(id.starts_with("kreq_01hf7yat00zzzzzzzzzzzzzzzz"), "{id}");
    }

    #[test]
    fn idempotency_keys_are_visible_and_short() {
        assert_eq!(idempotency_key(None).unwrap(), None);
        assert!(idempotency_key(Some("x".repeat(255))).is_ok());
        for bad in [String::new(), "a b".to_owned(), "é".to_owned(), "x".repeat(256)] {
            assert!(idempotency_key(Some(bad)).is_err());
        }
    }
}
