//! Recorded responses of images and rerankings, and of errors, through the checks of their formats.
//!
//! The recordings are not a part of the repository. The tests read them where `GATEHOUSE_SHARED` says, or from
//! `../shared` beside the repository, and are skipped with a message if they are not there.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use gatehouse_core::format::objects::check;
use gatehouse_core::format::upstream_error;
use gatehouse_core::format::whole::Whole;
use gatehouse_core::operation::Format;
use gatehouse_core::unit::Unit;
use serde_json::Value;

/// A recorded response; `None` if there are no recordings.
fn response(name: &str) -> Option<Value> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("GATEHOUSE_SHARED").map_or(beside, PathBuf::from);
    let path = shared.join("data/recordings").join(name);
    let Ok(text) = fs::read(&path) else {
        eprintln!("skipped: {} is missing", path.display());
        return None;
    };
    Some(serde_json::from_slice::<Value>(&text).unwrap()["response"]["body"].clone())
}

fn checked(format: Format, body: &Value) -> Whole {
    check(format, "acme", serde_json::to_string_pretty(body).unwrap().as_bytes(), None).unwrap()
}

#[test]
fn recorded_images_are_counted() {
    let Some(body) = response("openai-images/openai-image.json") else { return };
    let whole = checked(Format::Images, &body);
    assert_eq!(whole.usage.units.get(Unit::Image), Some(body["data"].as_array().unwrap().len() as u64));
    assert_eq!((whole.usage.completion_tokens, whole.translated), (None, None));
}

#[test]
fn a_recorded_reranking_has_its_billed_searches() {
    let Some(body) = response("rerank/cohere-reranking.1.json") else { return };
    let whole = checked(Format::RerankV2, &body);
    assert_eq!(whole.usage.units.get(Unit::Search), body["meta"]["billed_units"]["search_units"].as_u64());
    assert_eq!(whole.translated, None);
}

#[test]
fn a_recorded_rejection_names_its_field() {
    let Some(body) = response("openai-images/gpt-image-response-format-error.json") else { return };
    let error = upstream_error::read("openai", 400, body.to_string().as_bytes(), None);
    assert_eq!((error.status, error.param.as_deref()), (400, Some("response_format")));
}
