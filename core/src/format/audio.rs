//! Transcriptions of speech: forms with a file of audio. Requests, the length of the audio, and whole responses, which are
//! JSON or plain text. Streams are in [`super::media`]; speech itself in [`super::objects`].
//!
//! A transcription is billed by the second or by token, and both follow from the length of the audio. What the provider
//! reports is charged. Before, and where it reports nothing (`text`, `srt`, `vtt`), the length follows from the file:
//!
//! - PCM in WAV has a length that its bytes alone decide.
//! - The headers of FLAC and MP3 state a length or a bit rate. They may be wrong, so that a hold does not rely on them.
//! - Any other file has the length of its bytes at a usual bit rate, and at most that at the lowest.
//!
//! <https://platform.openai.com/docs/api-reference/audio>

use serde_json::value::RawValue;

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

/// Bytes of a second of audio: usual for compressed speech (32 kbit/s), and the fewest of a plausible file (8 kbit/s).
const USUAL_RATE: u64 = 4_000;
const LEAST_RATE: u64 = 1_000;
/// The most bytes of a second that a header is believed to state: stereo of a compact disc, uncompressed.
const MOST_RATE: u64 = 192_000;
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
    let size = size(Length::of(&file.kept, file.content.len() as u64), prompt);
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

/// The length of a file of audio, in seconds, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Length {
    /// The likely length.
    likely: u64,
    /// The most.
    most: u64,
    /// `true` if both are the length.
    is_exact: bool,
}

impl Length {
    /// The length of a file with this start and this many bytes.
    fn of(start: &[u8], bytes: u64) -> Length {
        if let Some(rate) = rate_of_wav(start) {
            let seconds = bytes.div_ceil(rate).max(1);
            return Length { likely: seconds, most: seconds, is_exact: true };
        }
        let stated = length_of_flac(start).or_else(|| length_of_mp3(start, bytes));
        let likely = stated.unwrap_or(bytes.div_ceil(USUAL_RATE)).max(bytes / MOST_RATE).max(1);
        Length { likely, most: likely.max(bytes.div_ceil(LEAST_RATE)), is_exact: false }
    }
}

fn little(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + count)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn big(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + count)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The bytes of a second of PCM in WAV. They follow from the format of a sample, and not from the rate that the header
/// states beside it.
fn rate_of_wav(start: &[u8]) -> Option<u64> {
    /// Integers, floating-point numbers, A-law, µ-law, and any of them with an extension.
    const UNCOMPRESSED: [u64; 5] = [1, 3, 6, 7, 0xFFFE];
    const MOST_SAMPLES: u64 = 768_000;
    if !start.starts_with(b"RIFF") || start.get(8..12) != Some(b"WAVE") {
        return None;
    }
    let mut at = 12;
    while start.get(at..at + 4)? != b"fmt " {
        let length = usize::try_from(little(start, at + 4, 4)?).ok()?;
        // Chunks have an even length.
        at = at.checked_add(8)?.checked_add(length)?.checked_add(length & 1)?;
    }
    let field = |offset: usize, count: usize| little(start, at + 8 + offset, count);
    let (kind, channels, samples, bits) = (field(0, 2)?, field(2, 2)?, field(4, 4)?, field(14, 2)?);
    let is_plausible = UNCOMPRESSED.contains(&kind)
        && (1..=32).contains(&channels)
        && (1..=MOST_SAMPLES).contains(&samples)
        && (8..=64).contains(&bits);
    is_plausible.then(|| samples * channels * bits.div_ceil(8))
}

/// The length that a FLAC file states.
fn length_of_flac(start: &[u8]) -> Option<u64> {
    if !start.starts_with(b"fLaC") || start.get(4)? & 0x7f != 0 {
        return None;
    }
    // 20 bits of the sample rate, 8 of the format, 36 of the number of samples.
    let packed = big(start, 18, 8)?;
    let (rate, samples) = (packed >> 44, packed & 0xf_ffff_ffff);
    (rate > 0 && samples > 0).then(|| samples.div_ceil(rate))
}

/// The length of an MP3 file: of its frames, if the first one states their number, or at the bit rate of the first one.
fn length_of_mp3(start: &[u8], bytes: u64) -> Option<u64> {
    /// In kbit/s, by the index in the header: of version 1, and of versions 2 and 2.5.
    const RATES: [[u64; 14]; 2] = [
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    const SAMPLES: [u64; 3] = [44_100, 48_000, 32_000];
    let mut at = 0;
    if start.starts_with(b"ID3") {
        // Seven bits of each byte.
        let size = start.get(6..10)?.iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        at = 10 + size;
    }
    let header = big(start, at, 4)?;
    let (version, layer) = (header >> 19 & 3, header >> 17 & 3);
    // Eleven bits of a frame's beginning, and layer III.
    if header >> 21 != 0x7ff || layer != 1 || version == 1 {
        return None;
    }
    let is_first = version == 3;
    let index = usize::try_from((header >> 12 & 15).checked_sub(1)?).ok()?;
    let rate = *RATES.get(usize::from(!is_first))?.get(index)? * 1000 / 8;
    let halved = match version {
        3 => 1,
        2 => 2,
        _ => 4,
    };
    let samples = SAMPLES.get(usize::try_from(header >> 10 & 3).ok()?)? / halved;
    let is_mono = header >> 6 & 3 == 3;
    let tag = at + 4 + [[32, 17], [17, 9]].get(usize::from(!is_first))?.get(usize::from(is_mono))?;
    let has_count =
        matches!(start.get(tag..tag + 4), Some(b"Xing" | b"Info")) && big(start, tag + 4, 4)? & 1 == 1;
    if has_count {
        let frames = big(start, tag + 8, 4)?;
        return Some((frames * if is_first { 1152 } else { 576 }).div_ceil(samples));
    }
    Some(bytes.saturating_sub(at as u64).div_ceil(rate))
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

    fn wav(kind: u16, samples: u32, channels: u16, bits: u16) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        bytes.extend(kind.to_le_bytes());
        bytes.extend(channels.to_le_bytes());
        bytes.extend(samples.to_le_bytes());
        // The stated rate is not read.
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(bits.to_le_bytes());
        bytes
    }

    #[test]
    fn the_length_follows_from_the_bytes_of_wav() {
        let exact = |seconds| Length { likely: seconds, most: seconds, is_exact: true };
        assert_eq!(Length::of(&wav(1, 16_000, 1, 16), 320_000), exact(10));
        assert_eq!(Length::of(&wav(0xFFFE, 44_100, 2, 24), 264_601), exact(2));
        assert_eq!(Length::of(&wav(1, 16_000, 1, 16), 1), exact(1));
        let guess = Length { likely: 100, most: 400, is_exact: false };
        for bytes in [wav(2, 16_000, 1, 16), wav(1, 0, 1, 16), wav(1, u32::MAX, 1, 16), wav(1, 8_000, 0, 16)]
        {
            assert_eq!(Length::of(&bytes, 400_000), guess);
        }
    }

    #[test]
    fn headers_state_a_length_that_holds_do_not_rely_on() {
        let flac = |rate: u64, samples: u64| {
            let packed = rate << 44 | 15 << 36 | samples;
            [&b"fLaC\0\0\0\x22"[..], &[0; 10], &packed.to_be_bytes()].concat()
        };
        let length = |bytes: &[u8], size| {
            let Length { likely, most, is_exact } = Length::of(bytes, size);
            assert!(!is_exact);
            (likely, most)
        };
        assert_eq!(length(&flac(16_000, 160_001), 200_000), (11, 200));
        // A second with 20 MB is not believed.
        assert_eq!(length(&flac(16_000, 1), 20_000_000), (104, 20_000));
        assert_eq!(length(&flac(0, 5), 4_000), (1, 4));
        // 128 kbit/s, behind tags.
        let mp3 = [&b"ID3\x04\0\0\0\0\0\x02xx"[..], &[0xff, 0xfb, 0x90, 0x00], &[0; 64]].concat();
        assert_eq!(length(&mp3, 160_012), (10, 161));
        let mut counted = mp3.clone();
        counted[12 + 4 + 32..][..4].copy_from_slice(b"Xing");
        counted[12 + 4 + 32 + 7] = 1;
        counted[12 + 4 + 32 + 10..][..2].copy_from_slice(&1000_u16.to_be_bytes());
        assert_eq!(length(&counted, 160_012), (27, 161));
        assert_eq!(length(b"OggS", 400_000), (100, 400));
        assert_eq!(length(b"", 0), (1, 1));
    }

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
