//! Any request that `POST /api/portal/requests` accepts is shown in a form that can be sent back and read as the same
//! request. An error is short.
#![no_main]

use gatehouse_core::config::Config;
use gatehouse_core::json;
use gatehouse_core::onboarding::key_request::{KeyRequest, KeyRequestDraft, State};
use gatehouse_core::onboarding::portal::PortalRequest;
use libfuzzer_sys::fuzz_target;

const NOW_MS: u64 = 1_700_000_000_000;

fuzz_target!(|body: &[u8]| match KeyRequestDraft::read(body, NOW_MS) {
    Ok(draft) => {
        let request = KeyRequest {
            id: "kreq_1".to_owned(),
            state: if draft.approved { State::Approved } else { State::Pending },
            draft,
            decided_ms: None,
            decided_by: None,
            decline_reason: None,
            key_id: None,
            increase: None,
        };
        let shown = json::to_text(&PortalRequest::of(&request, &[], &Config::default()));
        assert_eq!(KeyRequestDraft::read(shown.as_bytes(), NOW_MS), Ok(request.draft));
    }
    Err(error) => {
        assert_eq!(error.status, 400);
        assert!(error.message.len() < 700, "{} bytes of message", error.message.len());
    }
});
