//! Text that must not be shown.

use std::fmt;

use super::format::public_id;

/// A secret: a caller's key or a provider's. `Debug` shows at most the public id of a gateway key, there is no
/// `Display`, and [`Secret::expose`] marks every place that reads the text.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret, without the white space that a shell or an editor may have left around it. `None` when nothing
    /// remains.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty()).then(|| Secret(text.to_owned()))
    }

    /// The text, for the one place that has to send or hash it.
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
    fn debug_shows_no_more_than_the_public_id() {
        let key = super::super::mint(&[7; super::super::MINT_BYTES]);
        let shown = format!("{:?}", Secret::new(&key).unwrap());
        assert_eq!(shown, format!("Secret({}…)", &key[..13]));
        assert_eq!(format!("{:?}", Secret::new("sk-abc").unwrap()), "Secret(…)");
    }

    #[test]
    fn blank_is_no_secret() {
        assert!(Secret::new(" \n").is_none());
        assert_eq!(Secret::new(" a b\n").unwrap().expose(), "a b");
    }
}
