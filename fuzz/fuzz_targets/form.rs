//! Any form is accepted or rejected, alike for any split of its bytes. What is accepted goes upstream as a form with the same
//! files, in which `model` is the provider's id and the gateway's own parts are gone.
#![no_main]

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::Config;
use gatehouse_core::error::Error;
use gatehouse_core::format;
use gatehouse_core::format::upstream::Upstream;
use gatehouse_core::framing::multipart::{Multipart, Part, Reader};
use gatehouse_core::operation::{IMAGE_EDITS, IMAGE_VARIATIONS, TRANSCRIPTIONS, TRANSLATIONS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let read = |size: usize| -> Result<Multipart, Error> {
        let mut reader = Reader::new("multipart/form-data; boundary=b")?;
        for piece in body.chunks(size) {
            reader.push(piece)?;
        }
        reader.finish()
    };
    let whole = read(body.len().max(1));
    assert_eq!(whole, read(7));
    let parts = match whole {
        Ok(parts) => parts,
        Err(error) => {
            assert!(error.message.len() < 300, "{} bytes of message", error.message.len());
            return;
        }
    };
    for part in &parts.parts {
        assert!(body[part.content.clone()].starts_with(&part.kept));
    }
    let config = r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none",
        "formats":["image_edits","image_variations","transcriptions","translations"]}}}"#;
    let registry = Registry::new(&Config::read("{}", Some(config)).unwrap_or_default(), false, |_| None);
    let Some(provider) = registry.provider("acme") else { panic!("no provider") };
    for operation in [&TRANSCRIPTIONS, &TRANSLATIONS, &IMAGE_EDITS, &IMAGE_VARIATIONS] {
        let Ok(form) = format::form(operation, parts.clone()) else { continue };
        let Ok(request) = format::read_form(operation, &form) else { continue };
        let Ok(outgoing) = request.outgoing(&Upstream { provider, model: "m", own_routing: false }, None) else {
            panic!("a request in the provider's own format is always written")
        };
        let Ok(changes) = form.changes(outgoing.body.as_deref()) else { panic!("the fields are an object") };
        let (mut sent, mut at) = (Vec::new(), 0);
        for (place, bytes) in changes {
            sent.extend_from_slice(&body[at..place.start]);
            sent.extend(bytes);
            at = place.end;
        }
        sent.extend_from_slice(&body[at..]);
        let mut reader = Reader::new("multipart/form-data; boundary=b").unwrap_or_else(|error| panic!("{error:?}"));
        let again = reader.push(&sent).and_then(|()| reader.finish());
        let again = again.unwrap_or_else(|error| panic!("not a form: {error:?}"));
        let files = |list: &[Part]| -> Vec<(String, Vec<u8>)> {
            let files = list.iter().filter(|part| part.is_file);
            files.map(|part| (part.name.clone(), part.kept.clone())).collect()
        };
        assert_eq!(files(&parts.parts), files(&again.parts));
        let texts: Vec<&Part> = again.parts.iter().filter(|part| !part.is_file).collect();
        assert!(texts.iter().all(|part| part.name != "project_id" && part.name != "models"));
        let models: Vec<&[u8]> =
            texts.iter().filter(|part| part.name == "model").map(|part| &*part.kept).collect();
        assert_eq!(models, [b"m"]);
    }
});
