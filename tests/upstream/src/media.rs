//! Requests other than chats, messages and embeddings, and the responses to them: legacy completions, moderations,
//! rerankings, images, speech and transcriptions. All content is computed from the request, so that the same request has the same response.
//! Does not decide on statuses and faults: `response` does.
//!
//! The bill (`billed_completion`) counts what such providers bill: images, characters, searches, or tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::chat::object;
use crate::faults::{Fault, Wire};
use crate::record::Billed;
use crate::rejection::Rejection;
use crate::reply::{pieces, words};
use crate::response::{Generated, Response};
use crate::simulate::{Simulate, UsageMode, Wanted};
use crate::stream::Events;
use crate::when::Caller;
use crate::whole::Head;

/// The bytes of an image or of speech, unless the request asks for another number.
const SIZE: usize = 600;
/// The tokens of an image in its usage.
const IMAGE_TOKENS: u64 = 1056;
/// The documents of one search.
const DOCUMENTS_PER_SEARCH: u64 = 100;

/// A request, with what all of its kinds have.
struct Ask<'h> {
    value: Value,
    model: String,
    stream: bool,
    simulate: Simulate,
    head: &'h Head,
}

/// The content of a response.
struct Made {
    whole: Value,
    /// The data of the events of a stream, in which the types are names of events.
    events: Vec<Value>,
    ends_with_done: bool,
    prompt_tokens: u64,
    billed: u64,
}

fn read<'h>(
    body: &[u8],
    caller: &Caller<'_>,
    head: &'h Head,
    is_stream: impl Fn(&Value) -> bool,
) -> Result<Ask<'h>, Rejection> {
    let value = object(body)?;
    let stream = is_stream(&value);
    let wanted = if stream { Wanted::Stream } else { Wanted::Whole };
    let simulates = Simulate::read(value.get("simulate").unwrap_or(&Value::Null), wanted)
        .map_err(|message| Rejection::new(message, Some("simulate")))?;
    let named = value.get("model").and_then(Value::as_str);
    let simulate = Simulate::choose(simulates, caller, named, stream);
    let model = named.unwrap_or("simulated").to_owned();
    Ok(Ask { value, model, stream, simulate, head })
}

fn wants_stream(value: &Value) -> bool {
    value.get("stream").and_then(Value::as_bool).unwrap_or(false)
}

impl Ask<'_> {
    fn text(&self, field: &'static str) -> Result<&str, Rejection> {
        let text = self.value.get(field).and_then(Value::as_str);
        text.ok_or_else(|| Rejection::new(format!("{field} must be a string"), Some(field)))
    }

    /// A field that must not be in the request.
    fn reject(&self, field: &'static str) -> Result<(), Rejection> {
        match self.value.get(field) {
            None => Ok(()),
            Some(_) => Err(Rejection::new(format!("Unknown parameter: '{field}'."), Some(field))),
        }
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.value.get(field).and_then(Value::as_u64)
    }

    /// The number of images to edit, the mask included.
    fn edited(&self) -> Result<u64, Rejection> {
        let of = |field: &str| match self.value.get(field) {
            None => 0,
            Some(Value::Array(list)) => list.len() as u64,
            Some(_) => 1,
        };
        match of("image") + of("images") {
            0 => Err(Rejection::new("image must be a file".to_owned(), Some("image"))),
            images => Ok(images + of("mask")),
        }
    }

    /// Content of the requested size, in base64.
    fn blob(&self) -> String {
        STANDARD.encode(self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let size = self.simulate.content_bytes.unwrap_or(SIZE);
        (0..=u8::MAX).cycle().skip(0xff).take(size).collect()
    }

    fn respond(self, made: Made) -> Result<(Response, Simulate), Rejection> {
        let Ask { stream, simulate, head, .. } = self;
        let Made { whole, events, ends_with_done, prompt_tokens, billed } = made;
        let whole = || whole.to_string();
        let events = || {
            let mut all = Events::new(&simulate);
            let newline = all.newline();
            for data in &events {
                let text = data.to_string();
                match data.get("type").and_then(Value::as_str) {
                    Some(kind) => all.lines(1, ["event: ", kind, newline, "data: ", text.as_str()]),
                    None => all.lines(1, ["data: ", text.as_str()]),
                }
            }
            if simulate.error_event {
                all.truncate(simulate.kept_events(all.count()));
                let fault = Fault::of(&simulate, 200, Wire::Openai, head.n);
                all.lines(0, ["data: ", fault.envelope().as_str()]);
            } else if ends_with_done && simulate.done != Some(false) {
                all.lines(0, ["data: [DONE]"]);
            }
            all
        };
        let generated = Generated {
            simulate: &simulate,
            wire: Wire::Openai,
            whole: &whole,
            events: if stream { Some(&events) } else { None },
            prompt_tokens,
            tokens: 0,
            bill: Billed { completion: billed, ..Billed::default() },
        };
        let response = Response::to(&generated, head.n)?;
        Ok((response, simulate))
    }
}

/// A legacy completion: each choice says its prompt again.
pub(crate) fn completion(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let ask = read(body, caller, head, wants_stream)?;
    ask.reject("messages")?;
    ask.reject("max_completion_tokens")?;
    let prompts: Vec<String> = match ask.value.get("prompt") {
        Some(Value::String(prompt)) => vec![prompt.clone()],
        Some(Value::Array(list)) if list.first().is_some_and(|first| !first.is_u64()) => list
            .iter()
            .map(|prompt| prompt.as_str().map_or_else(|| prompt.to_string(), str::to_owned))
            .collect(),
        Some(prompt @ Value::Array(_)) => vec![prompt.to_string()],
        _ => return Err(Rejection::new("prompt must be a string or an array".to_owned(), Some("prompt"))),
    };
    let n = ask.number("n").unwrap_or(1).max(1);
    let limit = ask.number("max_tokens").unwrap_or(16);
    let mut texts = Vec::new();
    for prompt in &prompts {
        let said = ask.simulate.content.clone().unwrap_or_else(|| format!("You said: {prompt}"));
        let mut left = limit;
        let kept: String = pieces(&said, None)
            .take_while(|piece| {
                let fits = words(piece) <= left;
                left = left.saturating_sub(words(piece));
                fits
            })
            .collect();
        let finish = if kept == said { "stop" } else { "length" };
        texts.extend((0..n).map(|_| (kept.clone(), finish)));
    }
    let prompt_tokens: u64 = prompts.iter().map(|prompt| words(prompt)).sum();
    let tokens: u64 = texts.iter().map(|(text, _)| words(text)).sum();
    let usage = json!({"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens});
    let frame = |choices: Vec<Value>| {
        let id = format!("cmpl-sim-{}", head.n);
        json!({"id": id, "object": "text_completion", "created": head.created, "model": ask.model, "choices": choices})
    };
    let choice = |index: usize, text: &str, finish: Option<&str>| json!({"text": text, "index": index, "logprobs": null, "finish_reason": finish});
    let mut whole = frame(
        texts.iter().enumerate().map(|(index, (text, finish))| choice(index, text, Some(finish))).collect(),
    );
    let wants_usage = ask.value.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
    let mut events = Vec::new();
    for (index, (text, finish)) in texts.iter().enumerate() {
        events.extend(pieces(text, None).map(|piece| frame(vec![choice(index, piece, None)])));
        events.push(frame(vec![choice(index, "", Some(finish))]));
    }
    if ask.simulate.usage != UsageMode::None {
        set(&mut whole, "usage", usage.clone());
        if wants_usage {
            for event in &mut events {
                set(event, "usage", Value::Null);
            }
            let mut last = frame(Vec::new());
            set(&mut last, "usage", usage);
            events.push(last);
        }
    }
    ask.respond(Made { whole, events, ends_with_done: true, prompt_tokens, billed: tokens })
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

/// A moderation: what has the word "harm" is flagged.
pub(crate) fn moderation(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let ask = read(body, caller, head, |_| false)?;
    let inputs: Vec<Value> = match ask.value.get("input") {
        Some(Value::Array(list)) if list.iter().all(Value::is_object) => vec![Value::Array(list.clone())],
        Some(Value::Array(list)) => list.clone(),
        Some(text @ Value::String(_)) => vec![text.clone()],
        _ => return Err(Rejection::new("input must be a string or an array".to_owned(), Some("input"))),
    };
    let result = |input: &Value| {
        let is_flagged = input.to_string().contains("harm");
        let score = if is_flagged { 0.9 } else { 0.1 };
        json!({"flagged": is_flagged, "categories": {"violence": is_flagged}, "category_scores": {"violence": score},
            "category_applied_input_types": {"violence": ["text"]}})
    };
    let results: Vec<Value> = inputs.iter().map(result).collect();
    let whole = json!({"id": format!("modr-sim-{}", head.n), "model": ask.model, "results": results});
    ask.respond(Made { whole, events: Vec::new(), ends_with_done: false, prompt_tokens: 0, billed: 0 })
}

/// A reranking: the more words of the query a document has, the better. `/v2/rerank` and `/v1/rerank` respond as Cohere does
/// if the model's name has `cohere` in it, and with Voyage's names if it has `voyage` in it; otherwise as Jina does.
pub(crate) fn reranking(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let ask = read(body, caller, head, |_| false)?;
    let query = ask.text("query")?;
    let is_voyage = ask.model.contains("voyage");
    if is_voyage {
        ask.reject("top_n")?;
    }
    let documents: Vec<&str> = ask
        .value
        .get("documents")
        .and_then(Value::as_array)
        .map(|list| {
            list.iter().filter_map(|one| one.as_str().or_else(|| one.get("text")?.as_str())).collect()
        })
        .filter(|list: &Vec<&str>| !list.is_empty())
        .ok_or_else(|| Rejection::new("documents must be an array of texts".to_owned(), Some("documents")))?;
    let score = |document: &str| {
        let has = |word: &&str| document.split_whitespace().any(|other| other == *word);
        query.split_whitespace().filter(has).count()
    };
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(documents.get(*index).map_or(0, |document| score(document))));
    let top = ask.number(if is_voyage { "top_k" } else { "top_n" });
    let kept = top.and_then(|top| usize::try_from(top).ok()).unwrap_or(usize::MAX);
    let results: Vec<Value> = (0_u32..)
        .zip(order.into_iter().take(kept))
        .map(|(rank, index)| json!({"index": index, "relevance_score": 1.0 / f64::from(rank + 1)}))
        .collect();
    let tokens = documents.iter().map(|document| words(document)).sum::<u64>() + words(query);
    let searches = (documents.len() as u64).div_ceil(DOCUMENTS_PER_SEARCH);
    let (mut whole, billed) = if ask.model.contains("cohere") {
        let meta = json!({"api_version": {"version": "2"}, "billed_units": {"search_units": searches}});
        (json!({"id": format!("sim-{}", head.n), "results": results, "meta": meta}), searches)
    } else {
        let name = if is_voyage { "data" } else { "results" };
        let mut whole = json!({"object": "list", "model": ask.model, "usage": {"total_tokens": tokens}});
        set(&mut whole, name, results.into());
        (whole, tokens)
    };
    if ask.simulate.usage == UsageMode::None
        && let Some(object) = whole.as_object_mut()
    {
        object.remove("usage");
        object.remove("meta");
    }
    ask.respond(Made { whole, events: Vec::new(), ends_with_done: false, prompt_tokens: tokens, billed })
}

/// Images: as base64 with a usage, or as URLs without one if `response_format` is `url`.
pub(crate) fn images(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let ask = read(body, caller, head, wants_stream)?;
    ask.text("prompt")?;
    draw(ask, "image_generation", 0)
}

/// Edits of images, which are a form's files or a list.
pub(crate) fn edits(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let ask = read(body, caller, head, wants_stream)?;
    ask.text("prompt")?;
    let edited = ask.edited()?;
    draw(ask, "image_edit", edited)
}

/// Variations of an image.
pub(crate) fn variations(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let ask = read(body, caller, head, |_| false)?;
    let edited = ask.edited()?;
    draw(ask, "image_variation", edited)
}

/// Images for a prompt, and for images that have half of the tokens of those that are made.
fn draw(ask: Ask<'_>, event: &str, edited: u64) -> Result<(Response, Simulate), Rejection> {
    ask.reject("project_id")?;
    let head = ask.head;
    let prompt = ask.value.get("prompt").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_url = ask.value.get("response_format").and_then(Value::as_str) == Some("url");
    if ask.model.starts_with("gpt-image") {
        ask.reject("response_format")?;
    }
    let n = ask.number("n").unwrap_or(1);
    let image_tokens = edited * IMAGE_TOKENS / 2;
    let (input, output) = (words(&prompt) + image_tokens, n * IMAGE_TOKENS);
    let has_usage = !is_url && ask.simulate.usage != UsageMode::None;
    let usage = |output: u64| {
        json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_tokens_details": {"text_tokens": input - image_tokens, "image_tokens": image_tokens}})
    };
    let blob = ask.blob();
    let image = |index: u64| {
        if is_url {
            json!({"url": format!("https://images.example/{}-{index}.png", head.n), "revised_prompt": prompt})
        } else {
            json!({"b64_json": blob})
        }
    };
    let mut whole = json!({"created": head.created, "data": (0..n).map(image).collect::<Vec<_>>()});
    if has_usage {
        set(&mut whole, "usage", usage(output));
    }
    let partial = (0..ask.number("partial_images").unwrap_or(0)).map(|index| {
        json!({"type": format!("{event}.partial_image"), "b64_json": blob, "partial_image_index": index})
    });
    let mut events: Vec<Value> = partial.collect();
    for _ in 0..n {
        let mut last = json!({"type": format!("{event}.completed"), "b64_json": blob});
        if has_usage {
            set(&mut last, "usage", usage(IMAGE_TOKENS));
        }
        events.push(last);
    }
    ask.respond(Made { whole, events, ends_with_done: false, prompt_tokens: input, billed: n })
}

/// A transcription, or a translation: a second for each 32,000 bytes of the file, which is that of PCM with 16,000 samples of
/// 16 bits. A model with `token` or `gpt` in its name is billed by token, any other by second; Whisper does not stream.
pub(crate) fn transcription(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let is_stream = |value: &Value| {
        wants_stream(value)
            && value.get("model").and_then(Value::as_str).is_some_and(|model| !model.starts_with("whisper"))
    };
    let ask = read(body, caller, head, is_stream)?;
    ask.text("model")?;
    ask.reject("project_id")?;
    let file = ask.value.pointer("/file/bytes").and_then(Value::as_u64);
    let bytes = file.ok_or_else(|| Rejection::new("file must be a file".to_owned(), Some("file")))?;
    let seconds = bytes.div_ceil(32_000).max(1);
    let text = ask.simulate.content.clone().unwrap_or_else(|| "One two three.".to_owned());
    let has_tokens = ["token", "gpt"].iter().any(|part| ask.model.contains(part));
    let (audio, spoken) = (10 * seconds, words(&text));
    let usage = if has_tokens {
        json!({"type": "tokens", "input_tokens": audio, "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
            "output_tokens": spoken, "total_tokens": audio + spoken})
    } else {
        json!({"type": "duration", "seconds": seconds})
    };
    let has_usage = ask.simulate.usage != UsageMode::None;
    let format = ask.value.get("response_format").and_then(Value::as_str).unwrap_or("json").to_owned();
    let segment = json!({"id": 0, "start": 0.0, "end": 1.5, "text": text});
    let mut whole = match format.as_str() {
        "verbose_json" => {
            json!({"task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": [segment]})
        }
        "diarized_json" => {
            let spoken = json!({"id": "seg_0", "type": "transcript.text.segment", "start": 0.0, "end": 1.5, "text": text, "speaker": "A"});
            json!({"task": "transcribe", "duration": seconds, "text": text, "segments": [spoken]})
        }
        _ => json!({"text": text}),
    };
    let mut done = json!({"type": "transcript.text.done", "text": text});
    if has_usage {
        set(&mut whole, "usage", usage.clone());
        set(&mut done, "usage", usage);
    }
    let mut events: Vec<Value> =
        pieces(&text, None).map(|piece| json!({"type": "transcript.text.delta", "delta": piece})).collect();
    events.push(done);
    let plain = match format.as_str() {
        "text" => Some((format!("{text}\n"), "text/plain; charset=utf-8")),
        "srt" => Some((format!("1\n00:00:00,000 --> 00:00:01,500\n{text}\n\n"), "text/plain; charset=utf-8")),
        "vtt" => Some((format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n{text}\n\n"), "text/vtt")),
        _ => None,
    };
    let is_plain = !ask.stream && ask.simulate.generates();
    let billed = if has_tokens { audio + spoken } else { seconds };
    let made = Made { whole, events, ends_with_done: false, prompt_tokens: audio, billed };
    let (mut response, simulate) = ask.respond(made)?;
    if let Some((plain, kind)) = plain.filter(|_| is_plain) {
        response.speak(plain.into_bytes(), kind, &simulate);
    }
    Ok((response, simulate))
}

/// Speech: bytes, or events with them if `stream_format` is `sse`.
pub(crate) fn speech(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let is_sse = |value: &Value| value.get("stream_format").and_then(Value::as_str) == Some("sse");
    let ask = read(body, caller, head, is_sse)?;
    let input = ask.text("input")?;
    ask.text("voice")?;
    let (characters, tokens) = (input.chars().count() as u64, words(input));
    let usage = json!({"input_tokens": tokens, "output_tokens": 2 * characters, "total_tokens": tokens + 2 * characters});
    let delta = json!({"type": "speech.audio.delta", "audio": ask.blob()});
    let events = vec![delta.clone(), delta, json!({"type": "speech.audio.done", "usage": usage})];
    let sound = ask.bytes();
    let is_bytes = !ask.stream && ask.simulate.generates();
    let format = ask.value.get("response_format").and_then(Value::as_str).unwrap_or("mp3");
    let kind = match format {
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "opus" => "audio/ogg",
        _ => "application/octet-stream",
    };
    let made =
        Made { whole: Value::Null, events, ends_with_done: false, prompt_tokens: tokens, billed: characters };
    let (mut response, simulate) = ask.respond(made)?;
    if is_bytes {
        response.speak(sound, kind, &simulate);
    }
    Ok((response, simulate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::when::Times;

    type Reader = fn(&[u8], &Caller<'_>, &Head) -> Result<(Response, Simulate), Rejection>;

    fn ask(reader: Reader, value: &Value) -> Result<String, String> {
        let (times, headers) = (Times::default(), hyper::HeaderMap::new());
        let caller = Caller::new("/", &headers, &times);
        let read = reader(value.to_string().as_bytes(), &caller, &Head { n: 7, created: 1 });
        let (response, _) = read.map_err(|rejection| rejection.message)?;
        Ok(String::from_utf8_lossy(&response.script.bytes).into_owned())
    }

    fn whole(reader: Reader, value: &Value) -> Value {
        serde_json::from_str(&ask(reader, value).unwrap()).unwrap()
    }

    #[test]
    fn a_completion_says_each_prompt_within_its_limit() {
        let response = whole(completion, &json!({"prompt": ["a b", "c"], "max_tokens": 3, "n": 2}));
        let texts: Vec<_> =
            response["choices"].as_array().unwrap().iter().map(|one| one["text"].clone()).collect();
        assert_eq!(texts, ["You said: a", "You said: a", "You said: c", "You said: c"]);
        assert_eq!(response["choices"][0]["finish_reason"], "length");
        assert_eq!(
            response["usage"],
            json!({"prompt_tokens": 3, "completion_tokens": 12, "total_tokens": 15})
        );
        let stream = ask(completion, &json!({"prompt": "a", "stream": true})).unwrap();
        assert!(stream.ends_with("data: [DONE]\n\n") && !stream.contains("usage"), "{stream}");
    }

    #[test]
    fn documents_are_ordered_by_the_words_of_the_query() {
        let body = |model: &str| json!({"model": model, "query": "red fox", "documents": ["a dog", {"text": "a red fox"}, "red"]});
        let cohere = whole(reranking, &body("cohere-rerank"));
        let order: Vec<_> =
            cohere["results"].as_array().unwrap().iter().map(|one| one["index"].clone()).collect();
        assert_eq!(order, [1, 2, 0]);
        assert_eq!(cohere["meta"]["billed_units"]["search_units"], 1);
        assert_eq!(whole(reranking, &body("jina"))["usage"]["total_tokens"], 8);
        assert!(whole(reranking, &body("voyage"))["data"].is_array());
    }

    #[test]
    fn images_and_speech_have_the_requested_size_and_usage() {
        let response = whole(images, &json!({"prompt": "a b", "n": 2, "simulate": {"content_bytes": 3}}));
        assert_eq!(response["data"], json!([{"b64_json": "/wAB"}, {"b64_json": "/wAB"}]));
        assert_eq!(response["usage"]["total_tokens"], 2 + 2 * IMAGE_TOKENS);
        let stream = ask(images, &json!({"prompt": "a", "stream": true, "partial_images": 2})).unwrap();
        assert_eq!(stream.matches("event: image_generation.partial_image\n").count(), 2);
        assert!(!stream.contains("[DONE]"));
        assert!(
            ask(images, &json!({"model": "gpt-image-2", "prompt": "a", "response_format": "url"})).is_err()
        );
        let speech = |more: Value| {
            let mut body = json!({"input": "é b", "voice": "v"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ask(speech, &body).unwrap()
        };
        assert_eq!(speech(json!({"simulate": {"content_bytes": 1}})), "\u{fffd}");
        assert!(speech(json!({"stream_format": "sse"})).contains("\"output_tokens\":6"));
    }

    #[test]
    fn a_transcription_has_every_format_and_edits_have_images() {
        let file = |model: &str, format: &str| json!({"model": model, "response_format": format, "file": {"bytes": 64_001}});
        assert_eq!(whole(transcription, &file("stt", "json"))["usage"]["seconds"], 3);
        assert_eq!(whole(transcription, &file("token-stt", "json"))["usage"]["input_tokens"], 30);
        assert_eq!(whole(transcription, &file("stt", "verbose_json"))["duration"], 3);
        assert!(ask(transcription, &file("stt", "vtt")).unwrap().starts_with("WEBVTT"));
        let mut streamed = file("stt", "json");
        set(&mut streamed, "stream", true.into());
        assert!(ask(transcription, &streamed).unwrap().contains("transcript.text.done"));
        let edit = json!({"prompt": "a", "image": [{"bytes": 1}, {"bytes": 1}], "mask": {"bytes": 1}});
        assert_eq!(whole(edits, &edit)["usage"]["input_tokens"], 1 + 3 * IMAGE_TOKENS / 2);
        assert_eq!(
            whole(variations, &json!({"image": {"bytes": 1}, "n": 2}))["data"].as_array().unwrap().len(),
            2
        );
    }

    #[test]
    fn invalid_requests_are_rejected() {
        let cases: [(Reader, Value, &str); 7] = [
            (transcription, json!({"model": "m"}), "file must be"),
            (edits, json!({"prompt": "a"}), "image must be"),
            (completion, json!({}), "prompt must be"),
            (moderation, json!({"input": 7}), "input must be"),
            (reranking, json!({"query": "q", "documents": []}), "documents must be"),
            (images, json!({}), "prompt must be"),
            (speech, json!({"input": "a"}), "voice must be"),
        ];
        for (reader, body, part) in cases {
            assert!(ask(reader, &body).unwrap_err().contains(part), "{part}");
        }
        assert!(
            whole(moderation, &json!({"input": ["harm", "a"]}))["results"][0]["flagged"].as_bool().unwrap()
        );
    }
}
