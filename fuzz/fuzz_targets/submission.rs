//! Any body that `POST /access/request-key` accepts has an address that is safe in a mail header and a use case that is
//! safe in a log or a terminal. An error is short: it does not repeat the body.
#![no_main]

use gatehouse_core::onboarding::submission::{MAX_USE_CASE, Submission};
use gatehouse_core::text::MAX_EMAIL;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| match Submission::read(body) {
    Ok(submission) => {
        let email = &submission.email;
        assert!(email.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(email.matches('@').count(), 1);
        assert!(email.len() as u64 <= MAX_EMAIL);
        let Some(use_case) = submission.fields.get("use_case") else { panic!("without its use case") };
        assert!((1..=MAX_USE_CASE).contains(&(use_case.chars().count() as u64)));
        for text in submission.fields.values() {
            assert!(!text.chars().any(|symbol| symbol.is_control() && !matches!(symbol, '\n' | '\r' | '\t')));
        }
    }
    Err(error) => {
        assert_eq!(error.status, 400);
        assert!(error.message.len() < 1000, "{} bytes of message", error.message.len());
    }
});
