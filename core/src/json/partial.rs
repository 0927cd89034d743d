//! The beginning of a JSON text as a whole one.

/// Completes the beginning of a JSON object or array: ends the text that was cut, or drops the member that was cut, and
/// closes what is open. At least one of the results is valid JSON if the whole was, and the cut is not in its first member.
pub fn complete(start: &str) -> Vec<String> {
    let mut open = Vec::new();
    let mut in_string = false;
    let mut is_escape = false;
    // The end of the last complete member, and what was open there.
    let mut last = None;
    for (place, byte) in start.bytes().enumerate() {
        match byte {
            _ if is_escape => is_escape = false,
            b'\\' if in_string => is_escape = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => open.push('}'),
            b'[' => open.push(']'),
            b'}' | b']' => {
                open.pop();
            }
            b',' => last = Some((place, open.clone())),
            _ => {}
        }
    }
    let close = |text: &str, open: &[char]| {
        let mut text = text.to_owned();
        text.extend(open.iter().rev());
        text
    };
    let mut found = Vec::new();
    if in_string {
        // An escape that was cut, `\` or `\u12`, is dropped.
        let escape = start.rfind('\\').filter(|escape| start.len() - escape < 6);
        let kept = escape.and_then(|escape| start.get(..escape)).unwrap_or(start);
        found.push(close(&format!("{kept}\""), &open));
    } else {
        found.push(close(start, &open));
    }
    found.extend(last.and_then(|(end, open)| Some(close(start.get(..end)?, &open))));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn completed(start: &str) -> Option<Value> {
        complete(start).iter().find_map(|text| serde_json::from_str(text).ok())
    }

    #[test]
    fn what_came_before_the_cut_is_kept() {
        for (start, expected) in [
            (r#"{"a":{"b":"text","c":"PPP"#, r#"{"a":{"b":"text","c":"PPP"}}"#),
            (r#"{"a":{"b":"text","c":tr"#, r#"{"a":{"b":"text"}}"#),
            (r#"{"a":{"b":"text","c""#, r#"{"a":{"b":"text"}}"#),
            (r#"{"a":"te\u00"#, r#"{"a":"te"}"#),
            (r#"[{"a":1},{"b":2"#, r#"[{"a":1},{"b":2}]"#),
        ] {
            assert_eq!(completed(start), serde_json::from_str(expected).ok(), "{start}");
        }
        assert_eq!(completed("<html>"), None);
    }

    proptest! {
        #[test]
        fn a_text_is_read_wherever_it_is_cut(at in 22usize..90) {
            let text = r#"{"error":{"message":"m","list":[1,{"x":"é\"\\,}"},true],"input":"PPPPPPPPPPPPPP","z":null}}"#;
            let cut = text.char_indices().map(|(place, _)| place).take_while(|place| *place <= at).last().unwrap();
            let value = completed(text.get(..cut).unwrap());
            prop_assert_eq!(value.map(|value| value["error"]["message"].clone()), Some("m".into()), "{}", cut);
        }
    }
}
