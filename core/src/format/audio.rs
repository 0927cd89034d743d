//! Transcriptions of speech: forms with a file of audio. Requests and whole responses, which are JSON or plain text.
//! Streams are in [`super::media`]; speech itself in [`super::objects`].
//!
//! A transcription is billed by the second or by token, and both follow from the length of the audio. What the provider
//! reports is charged. Before, and where it reports nothing (`text`, `srt`, `vtt`), the length follows from the file
//! ([`super::audio_length`]).
//!
//! <https://platform.openai.com/docs/api-reference/audio>

use serde_json::value::RawValue;

use super::audio_length::Length;
use super::body::Body;
use super::form::Form;
use super::request::{Inference, Needs, Size};
use super::upstream_error;
use super::whole::{self, BOM, Whole};
use crate::error::{Code, Error};
use crate::json::members::{self, Member, Members, Text};
use crate::key::Secret;
use crate::operation::Operation;
use crate::unit::{Unit, Units};
use crate::usage::Usage;

/// The texts that the gateway acts on; each may appear only once.
pub(super) const ONCE: &[&str] =
    &["model", "project_id", "models", "provider", "prompt", "response_format", "stream"];
/// The files.
pub(super) const FILES: &[&str] = &["file"];

/// The tokens of a second of audio: OpenAI's number, and the most of any provider.
const TOKENS_PER_SECOND: u64 = 10;
const MOST_TOKENS_PER_SECOND: u64 = 32;
/// The tokens of a second of speech as a text: usual, and the most; and those that a text of any length may have.
const TEXT_PER_SECOND: u64 = 3;
const MOST_TEXT_PER_SECOND: u64 = 10;
const LEAST_TEXT: u64 = 1_024;

/// Reads a form.
pub fn read<'a>(operation: &'static Operation, form: &'a Form) -> Result<Inference<'a>, Error> {
    let body = Body::of_form(form.json(), ONCE)?;
    let model = body.model()?;
    let mut files = form.files("file");
    let Some(file) = files.next() else {
        let message = "Part 'file' is missing from the form; it must be a file with audio";
        return Err(Error::new(Code::MissingInput, message).with_param("file"));
    };
    if files.next().is_some() {
        let message = "Part 'file' appears twice in the form; send one file with each request";
        return Err(Error::new(Code::DuplicateMember, message).with_param("file"));
    }
    let prompt = body.typed::<Text<'a>>("prompt", "a string")?.map_or(0, |Text(prompt)| prompt.len());
    let stream = body.typed::<bool>("stream", "true or false")?.unwrap_or(false);
    let size = size(Length::of(&file.kept, &file.end, file.content.len() as u64), prompt);
    let project_id = body.project_id()?;
    Ok(Inference {
        operation,
        model,
        stream,
        wants_usage: true,
        project_id,
        routing: body.routing(),
        // The window of a model is one of text.
        needs: Needs::default(),
        size: Size { rest: form.json().len().saturating_sub(prompt), ..size },
        session: None,
        prompt: "",
        body,
    })
}

fn size(length: Length, prompt: usize) -> Size {
    let Length { likely, most, is_exact } = length;
    let most_tokens = most.saturating_mul(MOST_TOKENS_PER_SECOND);
    let tokens = likely.saturating_mul(TOKENS_PER_SECOND);
    let guesses = Units::of(&[(Unit::Second, likely), (Unit::AudioInput, tokens)]);
    Size {
        text: prompt,
        has_media: true,
        audio_tokens: tokens,
        most_audio_tokens: most_tokens,
        max_output: Some(most.saturating_mul(MOST_TEXT_PER_SECOND).saturating_add(LEAST_TEXT)),
        choices: 1,
        units: Units::of(&[(Unit::Second, most), (Unit::AudioInput, most_tokens)]),
        guesses: if is_exact { guesses.with(Unit::Second, None) } else { guesses },
        is_fixed: true,
        likely_output: likely.saturating_mul(TEXT_PER_SECOND),
        ..Size::default()
    }
}

/// Checks a whole response, and returns its usage. `key`, the gateway's credential, is blotted out of errors.
///
/// A response that is no JSON object is a text (`text`, `srt`, `vtt`), unless it is a page of markup.
pub fn check(provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Whole, Error> {
    let json = body.strip_prefix(BOM).unwrap_or(body);
    let error = |has_answer| upstream_error::in_answer(provider, json, has_answer, key);
    let has_bom = json.len() < body.len();
    let is_object = json.trim_ascii_start().starts_with(b"{");
    let members = if is_object { Members::read(json, &[]).ok() } else { None };
    let Some(members) = members else {
        if json.trim_ascii_start().starts_with(b"<") {
            return Err(whole::invalid(provider, "a page in place of a transcription"));
        }
        return Ok(Whole { usage: Usage::default(), produced: 0, has_bom, is_text: true, translated: None });
    };
    if members.get("text").is_none_or(|text| !text.value.starts_with('"')) {
        return Err(error(false).unwrap_or_else(|| whole::invalid(provider, "a JSON object without 'text'")));
    }
    let is_doubtful = members.get("error").is_some_and(|error| !upstream_error::is_nothing(error.value));
    if is_doubtful && let Some(error) = error(true) {
        return Err(error);
    }
    let reports = members.all("usage").filter_map(|report| usage(report.value));
    let reported = reports.reduce(Usage::larger).unwrap_or_default();
    let duration = members.get("duration").and_then(|duration| Usage::count(duration.value));
    let units = reported.units.or(Units::default().with(Unit::Second, duration));
    let usage = Usage { units, ..reported };
    Ok(Whole { usage, produced: 0, has_bom, is_text: false, translated: None })
}

/// The usage of a transcription: tokens, of which some are audio, or seconds.
pub(super) fn usage(text: &str) -> Option<Usage> {
    let usage = Usage::read(text)?;
    let names = &["seconds", "prompt_audio_seconds", "input_token_details", "prompt_tokens_details"];
    let [seconds, mistral, input, prompt] = members::pick(text.as_bytes(), names).ok()?;
    let count = |member: Option<Member<'_>>| Usage::count(member?.value);
    let audio = input.or(prompt).and_then(|details| {
        let [tokens] = members::pick(details.value.as_bytes(), &["audio_tokens"]).ok()?;
        count(tokens)
    });
    let units =
        Units::default().with(Unit::Second, count(seconds).or(count(mistral))).with(Unit::AudioInput, audio);
    Some(Usage { units, ..usage })
}

/// A transcription that was returned in place of a stream, as its events.
pub(super) fn events_of(document: &[u8]) -> Option<Vec<u8>> {
    let [text, usage] = members::pick(document, &["text", "usage"]).ok()?;
    let text = serde_json::from_str::<&RawValue>(text?.value).ok()?.get().to_owned();
    let usage = usage.map(|usage| format!(",\"usage\":{}", usage.value.replace(['\r', '\n'], " ")));
    let usage = usage.unwrap_or_default();
    let events = format!(
        "data: {{\"type\":\"transcript.text.delta\",\"delta\":{text}}}\n\n\
         data: {{\"type\":\"transcript.text.done\",\"text\":{text}{usage}}}\n\n"
    );
    Some(events.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;
    use crate::framing::multipart::Reader;
    use crate::operation::TRANSCRIPTIONS;

    #[test]
    fn a_request_holds_the_most_and_guesses_what_is_not_reported() {
        let form = |parts: &[(&str, &str)]| {
            let mut reader = Reader::new("multipart/form-data; boundary=b").unwrap();
            let part = |(name, value): &(&str, &str)| {
                format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
            };
            let body: String = parts.iter().map(part).collect();
            reader.push((body + "--b--").as_bytes()).unwrap();
            let form = format::form(&TRANSCRIPTIONS, reader.finish().unwrap())?;
            format::read_form(&TRANSCRIPTIONS, &form).map(|request| (request.stream, request.size.text))
        };
        let file = ("file; filename=f", "RIFF");
        assert_eq!(form(&[("stream", "true"), file, ("prompt", "hello"), ("model", "m")]), Ok((true, 5)));
        for (parts, code, param) in [
            (&[("x", "y"), file][..], "missing_model", "model"),
            (&[("model", "m")], "missing_input", "file"),
            (&[("model", "m"), ("file", "RIFF")], "invalid_type", "file"),
            (&[("model", "m"), file, file], "duplicate_member", "file"),
            (&[("model", "m"), ("model", "n")], "duplicate_member", "model"),
            (&[("model", "m"), file, ("stream", "yes")], "invalid_type", "stream"),
        ] {
            let error = form(parts).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), Some(param)), "{parts:?}");
        }
        let size = size(Length { likely: 10, most: 100, is_exact: false }, 5);
        assert_eq!(size.units, Units::of(&[(Unit::Second, 100), (Unit::AudioInput, 3_200)]));
        assert_eq!(size.guesses, Units::of(&[(Unit::Second, 10), (Unit::AudioInput, 100)]));
        assert_eq!((size.likely_output, size.max_output), (30, Some(2_024)));
    }

    #[test]
    fn a_response_has_seconds_or_tokens_or_is_a_text() {
        let check = |body: &str| check("acme", body.as_bytes(), None);
        let seconds = |seconds| Units::of(&[(Unit::Second, seconds)]);
        for (body, tokens, units, is_text) in [
            (r#"{"text":"a","usage":{"type":"duration","seconds":4.2}}"#, None, seconds(5), false),
            (r#"{"task":"transcribe","duration":8.4,"text":"a","segments":[]}"#, None, seconds(9), false),
            (
                r#"{"text":"a","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":5,"total_tokens":19}}"#,
                Some((14, 5)),
                Units::of(&[(Unit::AudioInput, 10)]),
                false,
            ),
            (
                r#"{"text":"a","usage":{"prompt_audio_seconds":7,"prompt_tokens":4,"completion_tokens":3}}"#,
                Some((4, 3)),
                seconds(7),
                false,
            ),
            (r#"{"text":"a"}"#, None, Units::default(), false),
            ("1\n00:00:00,000 --> 00:00:01,000\na\n", None, Units::default(), true),
            ("{ is how it begins", None, Units::default(), true),
            ("", None, Units::default(), true),
        ] {
            let whole = check(body).unwrap();
            let Usage { prompt_tokens, completion_tokens, units: found, .. } = whole.usage;
            assert_eq!(
                (prompt_tokens.zip(completion_tokens), found, whole.is_text),
                (tokens, units, is_text),
                "{body}"
            );
        }
        for (body, code) in [
            ("{}", "upstream_invalid_response"),
            ("<html>", "upstream_invalid_response"),
            (r#"{"error":{"message":"m","code":"busy"}}"#, "busy"),
            (r#"{"text":"","error":{"message":"m","code":"busy"}}"#, "busy"),
        ] {
            assert_eq!(check(body).unwrap_err().code(), Some(code), "{body}");
        }
    }
}
