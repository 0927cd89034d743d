//! Randomness from `crypto.getRandomValues`.

use std::cell::{Cell, RefCell};

use gatehouse_core::error::{Code, Error};

/// Random bytes for ids: asking the runtime costs 2 µs, so they are taken from a stock. Should the runtime refuse them, they are
/// zero: use this for ids, not for secrets.
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

/// A number to draw lots with, for jitter and for choosing among equals: cheap, and not for ids or secrets (xorshift64*,
/// begun with random bytes once for each isolate).
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

/// Random bytes for secrets: without randomness there is none.
pub fn secret_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|_| Error::new(Code::InternalError, "The runtime gives no random bytes"))?;
    Ok(bytes)
}
