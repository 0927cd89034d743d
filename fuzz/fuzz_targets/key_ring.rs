//! Any two secrets make a ring: every entry is counted once, a key is accepted only if it is the primary or its digest
//! is in the ring, and an entry for a key admits it whatever else the ring contains. The input is the primary, the
//! hashes and the key to try, separated by zero bytes.
#![no_main]

use gatehouse_core::key::{Digest, Ring, Secret};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let mut parts = input.splitn(3, '\0');
    let [primary, hashes, key] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let (ring, report) = Ring::read(Some(primary), Some(hashes));
    assert_eq!(ring.is_empty(), report.accepted == 0);
    let primary = Secret::new(primary);
    let entries = hashes.split([',', '\n', '\r']).filter(|entry| !entry.trim().is_empty()).count();
    assert_eq!(report.accepted + report.malformed, entries + usize::from(primary.is_some()));
    if let Some(primary) = &primary {
        assert_eq!(ring.authenticate(&digest_of(primary)).map(|caller| &*caller.label), Some("primary"));
    }

    let Some(key) = Secret::new(key) else { return };
    let digest = digest_of(&key).to_hex();
    if let Some(caller) = ring.authenticate(&digest_of(&key)) {
        let is_primary = primary.is_some_and(|primary| primary.expose() == key.expose());
        assert!(is_primary || hashes.to_ascii_lowercase().contains(&digest));
        assert!(!caller.label.is_empty());
    }
    let (ring, more) = Ring::read(None, Some(&format!("{hashes}\nadded:{digest}")));
    assert!(ring.authenticate(&digest_of(&key)).is_some());
    assert_eq!(more.malformed, report.malformed);
});

fn digest_of(key: &Secret) -> Digest {
    Digest::of(key.expose().as_bytes())
}
