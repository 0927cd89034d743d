//! Randomness from `crypto.getRandomValues`.

/// Random bytes. Should the runtime refuse them, they are zero: use this for ids, not for secrets.
pub fn id_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = getrandom::fill(&mut bytes);
    bytes
}
