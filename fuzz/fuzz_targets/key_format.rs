//! Any text is a key or not, without a panic. A key has the right length and alphabet, its public id is its beginning,
//! and its numbers fit their bits. A minted text is a key; with one character changed it is not.
#![no_main]

use gatehouse_core::key::{FormatError, KEY_LENGTH, MINT_BYTES, mint, public_id};
use libfuzzer_sys::fuzz_target;

const ID_END: usize = 13;
const CHECKSUM: usize = KEY_LENGTH - 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    random: [u8; MINT_BYTES],
    position: usize,
    /// Digits that were never minted, which get a correct checksum.
    forged: [u8; CHECKSUM - 3],
    text: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    if let Ok(id) = public_id(input.text) {
        check(input.text, id);
    }

    let minted = mint(&input.random);
    let Ok(id) = public_id(&minted) else { panic!("{minted} was minted but is not a key") };
    check(&minted, id);
    let position = 3 + input.position % (KEY_LENGTH - 3);
    let mut mistyped = minted.clone();
    mistyped.replace_range(position..=position, &digit(input.forged[0].into()).to_string());
    assert_eq!(public_id(&mistyped).is_ok(), mistyped == minted, "{minted} as {mistyped}");

    let mut forged: String = "gw_".chars().chain(input.forged.map(|byte| digit(byte.into()))).collect();
    forged.push_str(&checksum(&forged));
    let fits = fits(&forged);
    assert_eq!(public_id(&forged), if fits { Ok(&forged[..ID_END]) } else { Err(FormatError::Overflow) });
});

fn check(key: &str, id: &str) {
    assert_eq!(key.len(), KEY_LENGTH);
    assert!(key.starts_with(id) && id.len() == ID_END && id.starts_with("gw_"));
    assert!(key.bytes().skip(3).all(|byte| ALPHABET.contains(&byte)));
    assert_eq!(key[CHECKSUM..], checksum(&key[..CHECKSUM]));
    assert!(fits(key));
}

/// Base62 is in ASCII order here, so the largest number is also the last text.
fn fits(key: &str) -> bool {
    let largest = mint(&[0xff; MINT_BYTES]);
    key[..ID_END] <= largest[..ID_END] && key[ID_END..CHECKSUM] <= largest[ID_END..CHECKSUM]
}

fn digit(value: u32) -> char {
    char::from(ALPHABET[value as usize % 62])
}

fn checksum(body: &str) -> String {
    let mut crc = u32::MAX;
    for bit in body.bytes().flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1))) {
        crc = if (crc ^ bit) & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    }
    (0..6).rev().map(|place| digit(!crc / 62u32.pow(place))).collect()
}
