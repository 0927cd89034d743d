//! Randomness from `crypto.getRandomValues`.

use gatehouse_core::error::{Code, Error};

/// Random bytes. Should the runtime refuse them, they are zero: use this for ids, not for secrets.
pub fn id_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// Random bytes for secrets: without randomness there is none.
pub fn secret_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|_| Error::new(Code::InternalError, "The runtime gives no random bytes"))?;
    Ok(bytes)
}
