//! The master keys of the deployment, which encrypt the keys of providers in the database.
//!
//! The current one is the Worker secret `GATEWAY_MASTER_KEY`; it encrypts and decrypts. Those of
//! `GATEWAY_MASTER_KEY_PREVIOUS` only decrypt, so that the secret can be rotated without an interruption. This module
//! encrypts nothing: the Worker does, with the `WebCrypto` of the runtime.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The length of a master key in bytes: AES-256.
const LENGTH: usize = 32;

/// One master key. `Debug` shows its id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    id: String,
    bytes: [u8; LENGTH],
}

impl MasterKey {
    /// Reads the base64 of 32 bytes.
    pub fn read(text: &str) -> Option<MasterKey> {
        let bytes: [u8; LENGTH] = STANDARD.decode(text.trim()).ok()?.try_into().ok()?;
        let digest = Sha256::new_with_prefix("gatehouse master key\n").chain_update(bytes).finalize();
        let id = hex::encode(digest.get(..8).unwrap_or_default());
        Some(MasterKey { id, bytes })
    }

    /// A name that is no secret, by which a row states the key that it is encrypted with: 16 hexadecimal digits of a
    /// digest.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key as hexadecimal digits, for the code that encrypts.
    pub fn expose(&self) -> String {
        hex::encode(self.bytes)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MasterKey({})", self.id)
    }
}

/// The master keys of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKeys {
    current: Result<MasterKey, Fault>,
    previous: Vec<MasterKey>,
    /// Entries of `GATEWAY_MASTER_KEY_PREVIOUS` that are not master keys.
    pub malformed: usize,
}

/// Why the key of a provider cannot be read, or none can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The secret is not set.
    Missing,
    /// The secret is not a master key.
    Malformed,
    /// The key is encrypted with a master key that this deployment does not have.
    Other,
    /// The ciphertext does not belong to this key of this provider, or has been changed.
    Damaged,
}

impl Fault {
    /// The fault and its fix, as the end of a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Missing => {
                "the secret GATEWAY_MASTER_KEY is not set; set it to 32 random bytes in base64 (openssl rand -base64 32)"
            }
            Fault::Malformed => {
                "the secret GATEWAY_MASTER_KEY is not 32 bytes in base64; create one with openssl rand -base64 32"
            }
            Fault::Other => {
                "it is encrypted with another master key; set that one as GATEWAY_MASTER_KEY_PREVIOUS, or delete the key and add it again"
            }
            Fault::Damaged => "its ciphertext does not belong to it; delete the key and add it again",
        }
    }
}

impl MasterKeys {
    /// Reads the secrets. Previous keys are separated by commas or white space.
    pub fn read(current: Option<&str>, previous: Option<&str>) -> MasterKeys {
        let current = match current.map(str::trim).filter(|text| !text.is_empty()) {
            None => Err(Fault::Missing),
            Some(text) => MasterKey::read(text).ok_or(Fault::Malformed),
        };
        let entries = previous.into_iter().flat_map(|text| text.split([',', ' ', '\n', '\r', '\t']));
        let read: Vec<_> = entries.filter(|text| !text.is_empty()).map(MasterKey::read).collect();
        let malformed = read.iter().filter(|key| key.is_none()).count();
        MasterKeys { current, previous: read.into_iter().flatten().collect(), malformed }
    }

    /// The key that encrypts.
    pub fn current(&self) -> Result<&MasterKey, Fault> {
        self.current.as_ref().map_err(|fault| *fault)
    }

    /// The key of this id; the error is the fault of a row that is encrypted with it.
    pub fn find(&self, id: &str) -> Result<&MasterKey, Fault> {
        let known = self.current.iter().chain(&self.previous).find(|key| key.id == id);
        known.ok_or(match self.current {
            Ok(_) => Fault::Other,
            Err(fault) => fault,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(byte: u8) -> String {
        STANDARD.encode([byte; LENGTH])
    }

    #[test]
    fn previous_keys_only_decrypt() {
        let keys = MasterKeys::read(Some(&text(1)), Some(&format!("{}, {}\nshort", text(2), text(3))));
        let [one, two, other] = [1, 2, 9].map(|byte| MasterKey::read(&text(byte)).unwrap());
        assert_eq!(keys.current(), Ok(&one));
        assert_eq!(keys.find(two.id()), Ok(&two));
        assert_eq!(keys.find(other.id()), Err(Fault::Other));
        assert_eq!(keys.malformed, 1);
        assert_ne!(one.id(), two.id());
    }

    #[test]
    fn a_missing_or_malformed_key_is_stated() {
        for (current, fault) in [
            (None, Fault::Missing),
            (Some(" "), Fault::Missing),
            (Some("AAAA"), Fault::Malformed),
            (Some("not base64"), Fault::Malformed),
        ] {
            let keys = MasterKeys::read(current, None);
            assert_eq!(keys.current(), Err(fault));
            assert_eq!(keys.find("00"), Err(fault), "a row that cannot be read has the same fault");
            assert!(fault.as_str().contains("openssl rand -base64 32"));
        }
        let previous = MasterKeys::read(None, Some(&text(2)));
        assert!(previous.find(MasterKey::read(&text(2)).unwrap().id()).is_ok());
    }

    #[test]
    fn debug_shows_no_byte() {
        let shown = format!("{:?}", MasterKeys::read(Some(&text(0xab)), None));
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    }
}
