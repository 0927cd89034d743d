//! Texts that must not be shown.

use std::fmt;

use super::format::public_id;

/// A secret: a caller's key or a provider's. `Debug` shows at most the public id of a gateway key, there is no
/// `Display`, and [`Secret::expose`] marks every place that reads the text.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret, without surrounding white space, which shells and editors may add. `None` if the text is blank.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty()).then(|| Secret(text.to_owned()))
    }

    /// The text, for code that sends or hashes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match public_id(&self.0) {
            Ok(id) => write!(formatter, "Secret({id}…)"),
            Err(_) => formatter.write_str("Secret(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_at_most_the_public_id() {
        let key = super::super::mint(&[7; super::super::MINT_BYTES]);
        let debug = format!("{:?}", Secret::new(&key).unwrap());
        assert_eq!(debug, format!("Secret({}…)", &key[..13]));
        assert_eq!(format!("{:?}", Secret::new("sk-abc").unwrap()), "Secret(…)");
    }

    #[test]
    fn a_blank_text_is_no_secret() {
        assert!(Secret::new(" \n").is_none());
        assert_eq!(Secret::new(" a b\n").unwrap().expose(), "a b");
    }
}
