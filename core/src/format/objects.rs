//! Moderations, reranking, images and speech: formats whose request is one JSON object without a conversation, or a form
//! with images.
//!
//! A request passes as it is but for the model, the gateway's own fields and what a provider is known to reject. Of a
//! response, only what decides its bill is read: how many images, searches or tokens it is. Streams are in [`super::media`].
//!
//! <https://platform.openai.com/docs/api-reference/moderations>, <https://docs.cohere.com/reference/rerank>,
//! <https://jina.ai/reranker>, <https://platform.openai.com/docs/api-reference/images>,
//! <https://platform.openai.com/docs/api-reference/audio>

use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;

use crate::error::{Code, Error};
use crate::format::body::{Body, json_text, lenient_count};
use crate::format::embeddings::input_tokens;
use crate::format::form::Form;
use crate::format::request::{Inference, Needs, Outgoing, Responder, Size};
use crate::format::size::Images;
use crate::format::upstream::Upstream;
use crate::format::upstream_error;
use crate::format::whole::{self, BOM, Whole};
use crate::json::members::{self, Members, Text};
use crate::key::Secret;
use crate::operation::{Format, Operation};
use crate::unit::{Unit, Units};
use crate::usage::Usage;

/// The fields that the gateway acts on in any of these formats; each may appear only once.
pub(super) const ONCE: &[&str] = &[
    "model",
    "project_id",
    "models",
    "provider",
    "input",
    "query",
    "documents",
    "max_tokens_per_doc",
    "prompt",
    "n",
    "quality",
    "partial_images",
    "stream",
    "response_format",
    "stream_format",
];

/// The files of a form with images.
pub(super) const FILES: &[&str] = &["image", "mask"];

/// The model of a moderation that names none, as OpenAI documents it.
const DEFAULT_MODERATION: &str = "omni-moderation-latest";

/// The documents of one search, according to Cohere.
const DOCUMENTS_PER_SEARCH: u64 = 100;
/// The tokens of a document above which Cohere counts it as several, and the default of the tokens that it reads of one.
const TOKENS_PER_DOCUMENT: u64 = 500;
const MOST_TOKENS_READ: u64 = 4096;

/// The most images of one request, at OpenAI: those that it makes, and those that it edits.
const MOST_IMAGES: u64 = 10;
const MOST_EDITED: usize = 16;
/// The most tokens of an image that is edited.
const MOST_INPUT_TOKENS: u64 = 16_384;
/// The most tokens of a generated image, by its quality. GPT Image 1 has 6,240 at the highest; any other value of the
/// field may mean that. A partial image has a hundred more.
const IMAGE_TOKENS: [(&str, u64); 2] = [("\"low\"", 1_024), ("\"medium\"", 2_048)];
const MOST_IMAGE_TOKENS: u64 = 8_192;

/// The tokens of audio for a character: the usual number in quarters, and the largest, for the slowest speech.
const QUARTERS_PER_CHARACTER: u64 = 6;
const MOST_PER_CHARACTER: u64 = 16;
/// The tokens of audio that a text of any length may have.
const LEAST_AUDIO: u64 = 1_024;

/// Reads a body.
pub fn read<'a>(operation: &'static Operation, bytes: &'a [u8]) -> Result<Inference<'a>, Error> {
    let body = Body::read(bytes, ONCE)?;
    let edited = match operation.format {
        Format::ImageEdits => {
            items(&body, "images", "images")?.len() + usize::from(body.value("mask").is_some())
        }
        _ => 0,
    };
    request(operation, body, edited)
}

/// Reads a form with images.
pub fn read_form<'a>(operation: &'static Operation, form: &'a Form) -> Result<Inference<'a>, Error> {
    let body = Body::of_form(form.json(), ONCE)?;
    let images = form.files("image").count();
    if images == 0 {
        let message = "Part 'image' is missing from the form; it must be a file with an image";
        return Err(Error::new(Code::MissingInput, message).with_param("image"));
    }
    request(operation, body, images + form.files("mask").count())
}

/// The request of a body, with the images that it edits, masks included.
fn request<'a>(operation: &'static Operation, body: Body<'a>, edited: usize) -> Result<Inference<'a>, Error> {
    let (model, size) = match operation.format {
        Format::Moderations => {
            let named = body.typed::<Text<'a>>("model", "a string")?.map(|Text(name)| name);
            (named.unwrap_or(Cow::Borrowed(DEFAULT_MODERATION)), of_moderation(&body)?)
        }
        Format::Rerank | Format::RerankV2 => (body.model()?, of_rerank(&body)?),
        Format::Images | Format::ImageEdits => {
            let prompt = text(&body, "prompt")?.len();
            (body.model()?, of_images(&body, prompt, edited)?)
        }
        Format::ImageVariations => (body.model()?, of_images(&body, 0, edited)?),
        _ => (body.model()?, of_speech(&body)?),
    };
    let stream = match operation.format {
        Format::Images | Format::ImageEdits => {
            body.typed::<bool>("stream", "true or false")?.unwrap_or(false)
        }
        // Bytes or events, the response is passed on as it comes.
        format => format == Format::Speech,
    };
    let project_id = body.project_id()?;
    // Images are counted, and not their bytes.
    let embedded =
        if operation.format == Format::ImageEdits { body.size("images") + body.size("mask") } else { 0 };
    Ok(Inference {
        operation,
        model,
        stream,
        wants_usage: true,
        project_id,
        routing: body.routing(),
        needs: Needs { input_tokens: size.needed_tokens(), ..Needs::default() },
        size: Size { rest: body.bytes().len().saturating_sub(size.text + embedded), ..size },
        session: None,
        prompt: "",
        body,
    })
}

fn missing(field: &'static str, expected: &str) -> Error {
    Error::new(Code::MissingInput, format!("'{field}' is missing; it must be {expected}")).with_param(field)
}

/// The items of a field that must be an array with at least one.
fn items<'a>(body: &Body<'a>, field: &'static str, kind: &str) -> Result<Vec<&'a RawValue>, Error> {
    let items: Vec<&'a RawValue> = serde_json::from_str(body.array(field, kind)?).unwrap_or_default();
    if items.is_empty() {
        let message = format!("'{field}' is an empty array; send at least one of {kind}");
        return Err(Error::new(Code::InvalidValue, message).with_param(field));
    }
    Ok(items)
}

/// A field that must be a text.
fn text<'a>(body: &Body<'a>, field: &'static str) -> Result<Cow<'a, str>, Error> {
    let text = body.typed::<Text<'a>>(field, "a string")?.map(|Text(text)| text);
    text.ok_or_else(|| missing(field, "a string"))
}

fn of_moderation(body: &Body<'_>) -> Result<Size, Error> {
    let input = body.value("input").ok_or_else(|| missing("input", "a string or an array"))?;
    if !input.starts_with('"') {
        items(body, "input", "texts or images")?;
    }
    let images = Images::of(input.as_bytes());
    Ok(Size { text: input.len().saturating_sub(images.bytes), images: images.count, ..Size::default() })
}

fn of_rerank(body: &Body<'_>) -> Result<Size, Error> {
    let query = body.value("query").ok_or_else(|| missing("query", "a string"))?;
    let documents = items(body, "documents", "documents")?;
    let read = body.value("max_tokens_per_doc").and_then(lenient_count).unwrap_or(MOST_TOKENS_READ);
    // A token has at least one byte. The query is read with each part of a document.
    let parts =
        |document: &&RawValue| (document.get().len() as u64).min(read).div_ceil(TOKENS_PER_DOCUMENT).max(1);
    let searches = documents.iter().map(parts).sum::<u64>().div_ceil(DOCUMENTS_PER_SEARCH);
    let count = documents.len();
    let text = body.size("documents") + query.len().saturating_mul(count);
    Ok(Size { text, units: Units::of(&[(Unit::Search, searches)]), ..Size::default() })
}

/// The size of a request for images, with a prompt of so many bytes.
fn of_images(body: &Body<'_>, prompt: usize, edited: usize) -> Result<Size, Error> {
    if edited > MOST_EDITED + 1 {
        let message = format!("'image' must be at most {MOST_EDITED} images, not {edited}");
        return Err(Error::new(Code::InvalidValue, message).with_param("image"));
    }
    let images = body.typed::<u64>("n", "a whole number")?.unwrap_or(1);
    if !(1..=MOST_IMAGES).contains(&images) {
        let message = format!("'n' must be from 1 to {MOST_IMAGES}, not {images}");
        return Err(Error::new(Code::InvalidValue, message).with_param("n"));
    }
    let quality = body.value("quality").unwrap_or_default();
    let known = IMAGE_TOKENS.iter().find(|(name, _)| *name == quality);
    let partial = body.value("partial_images").and_then(lenient_count).unwrap_or(0).min(MOST_IMAGES);
    let each = known.map_or(MOST_IMAGE_TOKENS, |(_, tokens)| *tokens) + partial * 128;
    let units = Units::of(&[(Unit::Image, images), (Unit::ImageOutput, each * images)]);
    let input = Some(edited as u64 * MOST_INPUT_TOKENS).filter(|tokens| *tokens > 0);
    Ok(Size {
        text: prompt,
        images: edited,
        max_output: Some(each),
        choices: images,
        units: units.with(Unit::ImageInput, input),
        is_fixed: true,
        likely_output: each * images,
        ..Size::default()
    })
}

fn of_speech(body: &Body<'_>) -> Result<Size, Error> {
    let input = text(body, "input")?;
    let characters = input.chars().count() as u64;
    let most = characters.saturating_mul(MOST_PER_CHARACTER).saturating_add(LEAST_AUDIO);
    Ok(Size {
        text: input.len(),
        max_output: Some(most),
        choices: 1,
        units: Units::of(&[(Unit::Character, characters), (Unit::AudioOutput, most)]),
        is_fixed: true,
        likely_output: characters.saturating_mul(QUARTERS_PER_CHARACTER).div_ceil(4),
        ..Size::default()
    })
}

/// The beginnings of the ids of OpenAI's image models that always return base64 and reject `response_format`.
const BASE64_ONLY: [&str; 2] = ["gpt-image", "chatgpt-image"];

/// Writes a request for an upstream. There is no output limit.
pub fn outgoing(request: &Inference<'_>, upstream: &Upstream<'_>) -> Outgoing {
    let body = &request.body;
    let mut edits = body.addressed_to(upstream, &request.model);
    if body.value("model").is_none() {
        // The model that is charged is the model that runs.
        edits.remove("model");
        edits.insert("model", &json_text(upstream.model));
    }
    let is_base64_only = BASE64_ONLY.iter().any(|start| upstream.model.starts_with(start));
    if matches!(request.operation.format, Format::Images | Format::ImageEdits)
        && upstream.provider.is_openai
        && is_base64_only
        && body.value("response_format").is_some()
    {
        edits.remove("response_format");
        edits.adjusted.push("response_format".to_owned());
    }
    let (body, adjusted) = edits.finish();
    let format = request.operation.format;
    let responder = Responder { format, hide_usage: false, ends_without_done: false, translation: None };
    Outgoing { body, adjusted, responder }
}

/// Checks a whole response, and returns its usage. `key`, the gateway's credential, is blotted out of errors.
pub fn check(format: Format, provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Whole, Error> {
    let json = body.strip_prefix(BOM).unwrap_or(body);
    let error = |has_answer| upstream_error::in_answer(provider, json, has_answer, key);
    let members = Members::read(json, &[]).map_err(|_| {
        error(false).unwrap_or_else(|| whole::invalid(provider, "a body that is not a JSON object"))
    })?;
    let (name, other) = match format {
        Format::Images | Format::ImageEdits | Format::ImageVariations => ("data", None),
        // Voyage has another name for it, and what is in it is the same.
        Format::Rerank | Format::RerankV2 => ("results", Some("data")),
        _ => ("results", None),
    };
    let list = |name: &str| members.get(name).filter(|list| list.value.starts_with('['));
    let renamed = if list(name).is_none() { other.and_then(list) } else { None };
    let Some(list) = list(name).or(renamed) else {
        let what = format!("a JSON object without '{name}'");
        return Err(error(false).unwrap_or_else(|| whole::invalid(provider, &what)));
    };
    let is_doubtful = members.get("base_resp").is_some()
        || members.get("error").is_some_and(|error| !upstream_error::is_nothing(error.value));
    if is_doubtful && let Some(error) = error(true) {
        return Err(error);
    }
    let reports = || members.all("usage").map(|member| member.value);
    let usage = match format {
        Format::Images | Format::ImageEdits | Format::ImageVariations => {
            let read = reports().filter_map(of_image_usage).reduce(Usage::larger).unwrap_or_default();
            Usage { units: read.units.with(Unit::Image, Some(images_in(list.value))), ..read }
        }
        Format::Moderations => Usage {
            prompt_tokens: reports().filter_map(input_tokens).max(),
            completion_tokens: Some(0),
            ..Usage::default()
        },
        _ => {
            let billed = members.get("meta").and_then(|meta| billed(meta.value));
            let (tokens, searches) = billed.unwrap_or_default();
            Usage {
                prompt_tokens: reports().filter_map(input_tokens).max().max(tokens),
                completion_tokens: Some(0),
                units: Units::default().with(Unit::Search, searches),
                ..Usage::default()
            }
        }
    };
    let translated = renamed.and_then(|list| {
        let colon = memchr::memrchr(b':', json.get(..list.place.start)?)?;
        let start = memmem::rfind(json.get(..colon)?, b"\"data\"")?;
        Some(members::splice(json, &[(start..start + b"\"data\"".len(), json_text(name))]))
    });
    Ok(Whole { usage, produced: 0, has_bom: json.len() < body.len(), is_text: false, translated })
}

/// The tokens and searches that Cohere bills, from `meta`.
fn billed(meta: &str) -> Option<(Option<u64>, Option<u64>)> {
    let [units] = members::pick(meta.as_bytes(), &["billed_units"]).ok()?;
    let [tokens, searches] =
        members::pick(units?.value.as_bytes(), &["input_tokens", "search_units"]).ok()?;
    let count = |member: Option<members::Member<'_>>| Usage::count(member?.value);
    Some((count(tokens), count(searches)))
}

/// The images in `data`. Each has one of these names, and quotes inside of a JSON text are escaped.
fn images_in(data: &str) -> u64 {
    let count = |name: &[u8]| memmem::find_iter(data.as_bytes(), name).count();
    count(b"\"b64_json\":").max(count(b"\"url\":")).max(count(b"\"b64_json\" :")) as u64
}

/// The usage of generated images. Without details, all of the output is images.
pub(super) fn of_image_usage(text: &str) -> Option<Usage> {
    let usage = Usage::read(text)?;
    let names = &["input_tokens_details", "output_tokens_details"];
    let [input, output] = members::pick(text.as_bytes(), names).ok()?;
    let tokens = |details: Option<members::Member<'_>>| {
        let [tokens] = members::pick(details?.value.as_bytes(), &["image_tokens"]).ok()?;
        Usage::count(tokens?.value)
    };
    let units = Units::default()
        .with(Unit::ImageInput, tokens(input))
        .with(Unit::ImageOutput, tokens(output).or(usage.completion_tokens));
    Some(Usage { units, ..usage })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Registry;
    use crate::config::Config;
    use crate::format;
    use crate::operation::{IMAGES, MODERATIONS, RERANK, SPEECH};

    fn size(operation: &'static Operation, body: &str) -> Size {
        format::read(operation, body.as_bytes()).unwrap().size
    }

    #[test]
    fn the_most_that_a_request_can_use_follows_from_its_fields() {
        let speech = size(&SPEECH, r#"{"model":"m","input":"aé\u00e9😀","voice":"v"}"#);
        assert_eq!(speech.units.get(Unit::Character), Some(4));
        assert_eq!((speech.choices, speech.is_fixed, speech.likely_output), (1, true, 6));
        for (fields, images, tokens) in [
            ("", 1, 8_192),
            (r#","n":3,"quality":"low""#, 3, 3 * 1_024),
            (r#","n":null,"quality":"medium","partial_images":2"#, 1, 2_048 + 256),
            (r#","quality":"hd""#, 1, 8_192),
        ] {
            let size = size(&IMAGES, &format!(r#"{{"model":"m","prompt":"p"{fields}}}"#));
            assert_eq!(
                size.units,
                Units::of(&[(Unit::Image, images), (Unit::ImageOutput, tokens)]),
                "{fields}"
            );
        }
        let documents = |count: usize, length: usize| {
            let list: Vec<String> = (0..count).map(|_| format!("\"{}\"", "a".repeat(length))).collect();
            let body = format!(r#"{{"model":"m","query":"q","documents":[{}]}}"#, list.join(","));
            size(&RERANK, &body).units.get(Unit::Search)
        };
        assert_eq!((documents(1, 1), documents(100, 10), documents(101, 10)), (Some(1), Some(1), Some(2)));
        assert_eq!((documents(100, 600), documents(100, 100_000)), (Some(2), Some(9)));
    }

    #[test]
    fn any_other_request_is_rejected() {
        let cases: &[(&'static Operation, &str, &str, &str)] = &[
            (&MODERATIONS, r"{}", "missing_input", "input"),
            (&MODERATIONS, r#"{"input":[]}"#, "invalid_value", "input"),
            (&MODERATIONS, r#"{"input":7}"#, "invalid_type", "input"),
            (&MODERATIONS, r#"{"input":"a","model":7}"#, "invalid_type", "model"),
            (&RERANK, r#"{"model":"m","documents":["a"]}"#, "missing_input", "query"),
            (&RERANK, r#"{"model":"m","query":"q"}"#, "missing_input", "documents"),
            (&RERANK, r#"{"model":"m","query":"q","documents":[]}"#, "invalid_value", "documents"),
            (&RERANK, r#"{"query":"q","documents":["a"]}"#, "missing_model", "model"),
            (&IMAGES, r#"{"model":"m"}"#, "missing_input", "prompt"),
            (&IMAGES, r#"{"model":"m","prompt":["a"]}"#, "invalid_type", "prompt"),
            (&IMAGES, r#"{"model":"m","prompt":"p","n":0}"#, "invalid_value", "n"),
            (&IMAGES, r#"{"model":"m","prompt":"p","n":11}"#, "invalid_value", "n"),
            (&IMAGES, r#"{"model":"m","prompt":"p","n":"2"}"#, "invalid_type", "n"),
            (&IMAGES, r#"{"model":"m","prompt":"p","n":1,"n":9}"#, "duplicate_member", "n"),
            (&IMAGES, r#"{"model":"m","prompt":"p","stream":"yes"}"#, "invalid_type", "stream"),
            (&SPEECH, r#"{"model":"m","voice":"v"}"#, "missing_input", "input"),
            (&SPEECH, r#"{"model":"m","input":["a"]}"#, "invalid_type", "input"),
        ];
        for (operation, body, code, param) in cases {
            let error = format::read(operation, body.as_bytes()).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(*code), Some(*param)), "{body}");
        }
    }

    #[test]
    fn a_moderation_runs_the_model_that_it_is_routed_to() {
        let registry = Registry::new(&Config::read("{}", None).unwrap(), false, |name| {
            (name == "OPENAI_API_KEY").then(|| "k".to_owned())
        });
        let provider = registry.provider("openai").unwrap();
        let written = |operation: &'static Operation, model, body: &str| {
            let request = format::read(operation, body.as_bytes()).unwrap();
            let outgoing = request.outgoing(&Upstream { provider, model, own_routing: false }, None).unwrap();
            (String::from_utf8(outgoing.body.unwrap_or(body.into())).unwrap(), outgoing.adjusted.join(","))
        };
        for (body, sent) in [
            (r#"{"input":"a"}"#, r#"{"input":"a","model":"omni"}"#),
            (r#"{"input":"a","model":null}"#, r#"{"input":"a","model":"omni"}"#),
            (r#"{"input":"a","model":"x"}"#, r#"{"input":"a","model":"omni"}"#),
        ] {
            assert_eq!(written(&MODERATIONS, "omni", body).0, sent, "{body}");
        }
        assert_eq!(format::read(&MODERATIONS, br#"{"input":"a"}"#).unwrap().model, DEFAULT_MODERATION);
        // OpenAI's image models reject a field that its SDKs document.
        let body = r#"{"model":"m","prompt":"p","response_format":"b64_json"}"#;
        let sent = (r#"{"model":"gpt-image-2","prompt":"p"}"#.to_owned(), "response_format".to_owned());
        assert_eq!(written(&IMAGES, "gpt-image-2", body), sent);
        assert_eq!(written(&IMAGES, "dall-e-3", body).1, "");
    }

    #[test]
    fn a_response_has_its_units() {
        let usage = |format, body: &str| check(format, "acme", body.as_bytes(), None).unwrap().usage;
        let cohere = r#"{"id":"x","results":[],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":2}}}"#;
        assert_eq!(usage(Format::RerankV2, cohere).units, Units::of(&[(Unit::Search, 2)]));
        let jina = r#"{"results":[],"usage":{"total_tokens":815}}"#;
        assert_eq!(
            (usage(Format::Rerank, jina).prompt_tokens, usage(Format::Rerank, jina).units),
            (Some(815), Units::default())
        );
        let images = r#"{"created":1,"data":[{"b64_json":"AA=="},{ "b64_json":"\"url\":" }],"usage":{"input_tokens":50,
            "input_tokens_details":{"text_tokens":10,"image_tokens":40},"output_tokens":200,"total_tokens":250}}"#;
        let found = usage(Format::Images, images);
        assert_eq!((found.prompt_tokens, found.completion_tokens), (Some(50), Some(200)));
        assert_eq!(
            found.units,
            Units::of(&[(Unit::Image, 2), (Unit::ImageInput, 40), (Unit::ImageOutput, 200)])
        );
        let url = r#"{"data":[{"url":"https://x.example/a.png","revised_prompt":"p"}]}"#;
        assert_eq!(
            usage(Format::Images, url),
            Usage { units: Units::of(&[(Unit::Image, 1)]), ..Usage::default() }
        );
        assert_eq!(usage(Format::Moderations, r#"{"results":[{}]}"#).prompt_tokens, None);
    }

    #[test]
    fn another_name_of_the_results_is_replaced() {
        let body =
            r#"{"object":"list","usage":{"total_tokens":7}, "data" : [{"index":0,"relevance_score":0.5}]}"#;
        let whole = check(Format::Rerank, "voyage", body.as_bytes(), None).unwrap();
        assert_eq!(
            String::from_utf8(whole.translated.unwrap()).unwrap(),
            body.replace("\"data\"", "\"results\"")
        );
        assert_eq!(whole.usage.prompt_tokens, Some(7));
    }

    #[test]
    fn anything_else_is_an_error() {
        for (format, body, code) in [
            (Format::Images, "", "upstream_invalid_response"),
            (Format::Images, "{}", "upstream_invalid_response"),
            (Format::Moderations, r#"{"data":[]}"#, "upstream_invalid_response"),
            (Format::Rerank, r#"{"error":{"message":"m","code":"busy"}}"#, "busy"),
            (Format::Images, r#"{"data":[],"error":{"message":"m","code":"busy"}}"#, "busy"),
        ] {
            let error = check(format, "acme", body.as_bytes(), None).unwrap_err();
            assert_eq!((error.status, error.code()), (502, Some(code)), "{body}");
        }
    }
}
