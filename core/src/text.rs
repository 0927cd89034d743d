//! Validation of short texts from users: length, control characters, e-mail addresses. Errors name the field.
//!
//! Request structs derive `validator::Validate`; [`checked`] and [`Faults`] turn its result into an error of the table.

use std::borrow::Cow;

use serde_json::Value;
use validator::{ValidateLength as _, ValidationError, ValidationErrors, ValidationErrorsKind};

use crate::error::{Code, Error};

/// The longest e-mail address, in characters (RFC 5321, section 4.5.3.1.3, without its brackets).
pub const MAX_EMAIL: u64 = 254;

/// Checks an e-mail address as the HTML standard's `input type=email` does. Also requires a dot in the domain, no dot
/// at either end of the local part, and the lengths of RFC 5321.
pub fn email(text: &str) -> Result<String, Error> {
    let text = text.trim_matches(' ');
    if text.is_empty() {
        return Err(invalid("email", "must not be empty"));
    }
    visible(text).map_err(|fault| error_of("email".into(), fault))?;
    within("email", text, 1, MAX_EMAIL)?;
    if !text.is_ascii() {
        return Err(invalid("email", "must be ASCII: write an internationalised domain as xn--…"));
    }
    let not_an_address = || invalid("email", "must be an e-mail address, such as user@example.com");
    let (local, domain) = text.rsplit_once('@').ok_or_else(not_an_address)?;
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let local_is_good = local.validate_length(Some(1), Some(64), None)
        && local.bytes().all(is_atom)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let label_is_good = |label: &str| {
        label.validate_length(Some(1), Some(63), None)
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let domain_is_good = domain.contains('.') && domain.split('.').all(label_is_good);
    if local_is_good && domain_is_good { Ok(text.to_owned()) } else { Err(not_an_address()) }
}

/// The error for a field with an invalid value.
pub fn invalid(field: &'static str, what: &str) -> Error {
    Error::new(Code::InvalidValue, format!("'{field}' {what}")).with_param(field)
}

/// Checks that the number of characters is in a range.
pub fn within(field: &'static str, text: &str, min: u64, max: u64) -> Result<(), Error> {
    if text.validate_length(Some(min), Some(max), None) {
        return Ok(());
    }
    Err(invalid(field, &wrong_length(text, min, max)))
}

fn wrong_length(text: &str, min: u64, max: u64) -> String {
    let count = text.chars().count();
    match (min, count) {
        (1, 0) => "must not be empty".to_owned(),
        (0 | 1, _) => format!("must have at most {max} characters; it has {count}"),
        _ => format!("must have {min} to {max} characters; it has {count}"),
    }
}

/// Rejects control characters.
pub fn visible(text: &str) -> Result<(), ValidationError> {
    no_control_characters(text, &[])
}

/// Rejects control characters other than those of a text of several lines.
pub fn visible_lines(text: &str) -> Result<(), ValidationError> {
    no_control_characters(text, &['\n', '\r', '\t'])
}

fn no_control_characters(text: &str, except: &[char]) -> Result<(), ValidationError> {
    let Some(symbol) = text.chars().find(|symbol| symbol.is_control() && !except.contains(symbol)) else {
        return Ok(());
    };
    let code = u32::from(symbol);
    let words = format!("must have no control characters; it has U+{code:04X}");
    Err(ValidationError::new("control_character").with_message(words.into()))
}

/// The faults of a request, reported in one error.
#[derive(Debug, Default)]
pub struct Faults(Vec<(Cow<'static, str>, Error)>);

impl Faults {
    /// Takes the value of a field, or notes its fault.
    pub fn note<T>(&mut self, field: &'static str, result: Result<T, Error>) -> Option<T> {
        result.map_err(|fault| self.0.push((field.into(), fault))).ok()
    }

    /// Notes the faults that `validator` found: the first of each field.
    pub fn note_all(&mut self, checked: Result<(), ValidationErrors>) {
        for (field, faults) in checked.err().map(|errors| errors.0).into_iter().flatten() {
            let ValidationErrorsKind::Field(faults) = faults else { continue };
            self.0.extend(faults.into_iter().next().map(|fault| (field.clone(), error_of(field, fault))));
        }
    }

    /// One error if there are any: with every message, in the order of the fields, and the code and field of the first.
    pub fn into_result(self, fields: &[&str]) -> Result<(), Error> {
        let Faults(mut faults) = self;
        faults.sort_by_key(|(field, _)| fields.iter().position(|known| known == field));
        let error = faults.into_iter().map(|(_, fault)| fault).reduce(|mut error, fault| {
            error.message = format!("{}; {}", error.message, fault.message);
            error
        });
        error.map_or(Ok(()), Err)
    }
}

/// Turns the result of `validator` into an error of the table. `fields` is the order of the messages.
pub fn checked(result: Result<(), ValidationErrors>, fields: &[&str]) -> Result<(), Error> {
    let mut faults = Faults::default();
    faults.note_all(result);
    faults.into_result(fields)
}

/// A fault that [`checked`] turns into the same error again, with its code, message and param.
impl From<Error> for ValidationError {
    fn from(error: Error) -> ValidationError {
        let mut fault = ValidationError::new("");
        fault.code = error.code().unwrap_or_default().to_owned().into();
        fault.add_param(Cow::Borrowed(PARAM), &error.param);
        fault.with_message(error.message.into())
    }
}

const PARAM: &str = "param";

fn error_of(field: Cow<'static, str>, fault: ValidationError) -> Error {
    let ValidationError { code, message, params } = fault;
    let number = |name: &str| params.get(name).and_then(Value::as_u64);
    let (min, max) = (number("min").unwrap_or(0), number("max").unwrap_or(u64::MAX));
    if let (Some(param), Some(message)) = (params.get(PARAM), &message) {
        let known = Code::ALL.iter().find(|known| known.spec().code == code);
        let error = Error::new(known.copied().unwrap_or(Code::InvalidValue), message.clone());
        return match param.as_str() {
            Some(param) => error.with_param(param.to_owned()),
            None => error,
        };
    }
    let what = match (message, params.get("value")) {
        (Some(message), _) => message.into_owned(),
        (None, Some(Value::String(text))) => wrong_length(text, min, max),
        (None, Some(Value::Array(_))) => format!("has at most {max} entries"),
        (None, _) => format!("must be between {min} and {max}"),
    };
    Error::new(Code::InvalidValue, format!("'{field}' {what}")).with_param(field)
}

/// The number of characters to insert, delete or replace to get from one text to another, without regard to the case
/// of ASCII letters; `None` if it is above `limit`.
fn distance(from: &str, to: &str, limit: usize) -> Option<usize> {
    let to: Vec<char> = to.chars().collect();
    if from.chars().count().abs_diff(to.len()) > limit {
        return None;
    }
    // The row of the table for the characters of `from` so far.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, char) in from.chars().enumerate() {
        let (mut diagonal, mut left) = (index, index + 1);
        let mut least = left;
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = left;
        }
        for (cell, other) in cells.zip(&to) {
            let replaced = diagonal + usize::from(!char.eq_ignore_ascii_case(other));
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
            least = least.min(left);
        }
        if least > limit {
            return None;
        }
    }
    row.last().copied().filter(|distance| *distance <= limit)
}

/// The longest name for which [`Nearest`] searches, in bytes.
const MAX_SEARCHED: usize = 64;

/// The names that somebody may have meant by a misspelt one: those with the fewest differences.
#[derive(Debug)]
pub struct Nearest<'n> {
    name: &'n str,
    limit: usize,
    found: Vec<String>,
}

impl<'n> Nearest<'n> {
    /// The maximum number of suggestions.
    const MAX: usize = 3;

    /// A search for a name. Each four characters may have a difference, up to three.
    pub fn of(name: &'n str) -> Nearest<'n> {
        let limit = if name.len() > MAX_SEARCHED { 0 } else { (name.chars().count() / 4).min(3) };
        Nearest { name, limit, found: Vec::new() }
    }

    /// Considers `known`; the suggestion for it is `shown`.
    pub fn consider(&mut self, known: &str, shown: impl FnOnce() -> String) {
        let Some(distance) = distance(self.name, known, self.limit).filter(|_| self.limit > 0) else {
            return;
        };
        if distance < self.limit {
            self.limit = distance.max(1);
            self.found.clear();
        }
        if self.found.len() < Nearest::MAX {
            let shown = shown();
            if !self.found.contains(&shown) {
                self.found.push(shown);
            }
        }
    }

    /// A question for an error message, after a blank; empty if nothing is near.
    pub fn question(&self) -> String {
        if self.found.is_empty() {
            return String::new();
        }
        let names: Vec<_> = self.found.iter().map(|name| format!("'{name}'")).collect();
        format!(" Did you mean {}?", names.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_names_with_the_fewest_differences() {
        let known = ["gpt-5-mini", "gpt-5-nano", "gpt-5", "mistral", "Claude-Opus-4-8", "groq", "grok"];
        for (name, question) in [
            ("gpt-5-mni", " Did you mean 'gpt-5-mini'?"),
            ("gpt5-mini", " Did you mean 'gpt-5-mini'?"),
            ("GPT-5-MINI", " Did you mean 'gpt-5-mini'?"),
            ("claude-opus-4.8", " Did you mean 'Claude-Opus-4-8'?"),
            ("mistralai", " Did you mean 'mistral'?"),
            ("groc", " Did you mean 'groq' or 'grok'?"),
            ("gpt-99", ""),
            ("abc", ""),
            ("", ""),
        ] {
            let mut nearest = Nearest::of(name);
            for known in known {
                nearest.consider(known, || known.to_owned());
            }
            assert_eq!(nearest.question(), question, "{name}");
        }
        let long = "a".repeat(65);
        let mut nearest = Nearest::of(&long);
        nearest.consider(&long, || long.clone());
        assert_eq!(nearest.question(), "");
    }
    use proptest::prelude::*;

    #[test]
    fn accepts_and_rejects_addresses_as_browsers_do() {
        for good in [
            "a@b.co",
            "first.last+tag@sub.example.com",
            "x@xn--bcher-kva.example",
            "o'neil@example.com",
            "1@1.example",
        ] {
            assert!(email(good).is_ok(), "{good}");
        }
        for bad in [
            "a",
            "a@",
            "@b.co",
            "a@b",
            "a b@c.de",
            "a@b..co",
            "a@-b.co",
            "a@b-.co",
            ".a@b.co",
            "a.@b.co",
            "a..b@c.de",
            "a@b.co,c@d.ef",
            "<a@b.co>",
            "a@b.co>",
            "\"a\"@b.co",
            "a@[127.0.0.1]",
            "a@b_c.de",
            "a@b.co\n",
            "a@bücher.example",
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
        assert!(email(&format!("{}@b.co", "x".repeat(65))).is_err());
        assert!(email(&format!("a@{}.co", "x".repeat(64))).is_err());
    }

    proptest! {
        /// An accepted address has no character that could end a mail header or a log line.
        #[test]
        fn an_accepted_address_is_plain(text in "\\PC{0,10}@?[a-z.\\r\\n -]{0,20}") {
            if let Ok(address) = email(&text) {
                prop_assert!(address.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(address.matches('@').count(), 1);
            }
        }
    }
}
