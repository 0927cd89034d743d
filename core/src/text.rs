//! Validation of short texts from users: length, visible characters, e-mail addresses. Errors name the field.

use validator::ValidateLength as _;

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
    visible("email", text, &[])?;
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
    let count = text.chars().count();
    let range = if min > 1 { format!("{min} to {max}") } else { format!("at most {max}") };
    Err(invalid(field, &format!("must have {range} characters; it has {count}")))
}

/// Checks that a text has no control characters other than those in `also`.
pub fn visible(field: &'static str, text: &str, also: &[char]) -> Result<String, Error> {
    match text.chars().find(|symbol| symbol.is_control() && !also.contains(symbol)) {
        None => Ok(text.to_owned()),
        Some(symbol) => {
            let code = u32::from(symbol);
            Err(invalid(field, &format!("must have no control characters; it has U+{code:04X}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
