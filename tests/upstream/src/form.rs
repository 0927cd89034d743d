//! Forms (`multipart/form-data`) as the JSON object that the other modules read: texts are values, files are objects with
//! their name, content type and size. A reader of its own, so that the gateway's is not tested by itself.

use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value, json};

use crate::rejection::Rejection;

/// The object of a form, as text; `None` if the body is none.
pub(crate) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Option<Vec<u8>>, Rejection> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = content_type.to_ascii_lowercase().starts_with("multipart/form-data;");
    let Some((_, parameters)) = content_type.split_once(';').filter(|_| is_form) else { return Ok(None) };
    let wrong = |what: &str| Rejection::new(format!("Could not parse the form: {what}"), None);
    let stated = parameters.trim().strip_prefix("boundary=").ok_or_else(|| wrong("no boundary"))?;
    let boundary = match stated.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => stated.split(';').next(),
    };
    let delimiter = format!("--{}", boundary.unwrap_or_default());
    let mut object = Map::new();
    let mut rest =
        body.get(find(body, delimiter.as_bytes()).ok_or_else(|| wrong("no parts"))?..).unwrap_or_default();
    loop {
        rest = rest.get(delimiter.len()..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(Some(Value::Object(object).to_string().into_bytes()));
        }
        let ended = format!("\r\n{delimiter}");
        let end = find(rest, ended.as_bytes()).ok_or_else(|| wrong("no last boundary"))?;
        let (part, after) = rest.split_at(end);
        rest = after.get(2..).unwrap_or_default();
        let blank = find(part, b"\r\n\r\n").ok_or_else(|| wrong("a part without headers"))?;
        let head = String::from_utf8_lossy(part.get(..blank).unwrap_or_default()).into_owned();
        let content = part.get(blank + 4..).unwrap_or_default();
        let parameter = |name: &str| {
            let quoted = head.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split('"').next());
            quoted.map(str::to_owned)
        };
        // `filename` ends with it too.
        let name = parameter("; name").ok_or_else(|| wrong("a part without a name"))?;
        let value = match parameter("filename") {
            Some(file) => json!({"filename": file, "bytes": content.len()}),
            None => text(&String::from_utf8_lossy(content)),
        };
        add(&mut object, &name, value);
    }
}

/// A text: numbers, switches and objects are what they look like.
fn text(text: &str) -> Value {
    let parsed = serde_json::from_str::<Value>(text).ok();
    parsed.filter(|value| !value.is_string() && !value.is_null()).unwrap_or_else(|| Value::from(text))
}

fn add(object: &mut Map<String, Value>, name: &str, value: Value) {
    let listed = name.strip_suffix("[]");
    let known = object.entry(listed.unwrap_or(name)).or_insert(Value::Null);
    match known {
        Value::Array(list) => list.push(value),
        Value::Null if listed.is_some() => *known = Value::Array(vec![value]),
        Value::Null => *known = value,
        other => *other = Value::Array(vec![other.take(), value]),
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0;
    while let Some(found) = bytes.get(at..)?.iter().position(|byte| *byte == first) {
        at += found;
        if bytes.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_an_object() {
        let mut headers = HeaderMap::new();
        assert_eq!(object(&headers, b"{}").unwrap(), None);
        headers.insert(CONTENT_TYPE, "multipart/form-data; boundary=b".parse().unwrap());
        let body = b"--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n2\r\n\
            --b\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"f\"\r\n\r\nPNG\r\n--b--\r\n";
        let read: Value = serde_json::from_slice(&object(&headers, body).unwrap().unwrap()).unwrap();
        assert_eq!(read, json!({"n": 2, "image": [{"filename": "f", "bytes": 3}]}));
        assert!(object(&headers, b"--b\r\n").is_err());
    }
}
