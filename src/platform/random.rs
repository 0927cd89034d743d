//! Randomness from `crypto.getRandomValues`.

use std::cell::{Cell, RefCell};

use gatehouse_core::error::{Code, Error};

/// Random bytes for ids. A call of the runtime costs 2 µs, so the bytes come from a stock. If the runtime fails to
/// provide them, they are zero: use this for ids, not for secrets.
pub fn id_bytes<const N: usize>() -> [u8; N] {
    const STOCK: usize = 1_000;
    thread_local! {
        static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BYTES.with_borrow_mut(|stock| {
        if stock.len() < N {
            stock.resize(STOCK.max(N), 0);
            let _ = getrandom::fill(stock);
        }
        let mut bytes = [0; N];
        let rest = stock.len() - N;
        bytes.copy_from_slice(stock.get(rest..).unwrap_or(&[0; N]));
        stock.truncate(rest);
        bytes
    })
}

/// A random number for jitter and for breaking ties: cheap, and not for ids or secrets (xorshift64*, seeded with random
/// bytes once for each isolate).
pub fn chance() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }
    STATE.with(|state| {
        let mut bits = match state.get() {
            0 => u64::from_le_bytes(id_bytes()) | 1,
            bits => bits,
        };
        bits ^= bits >> 12;
        bits ^= bits << 25;
        bits ^= bits >> 27;
        state.set(bits);
        bits.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}

/// Random bytes for secrets; an error if the runtime provides none.
pub fn secret_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|_| Error::new(Code::InternalError, "The runtime gives no random bytes"))?;
    Ok(bytes)
}
