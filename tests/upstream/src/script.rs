//! A script in the text of a prompt: the tool calls and the faults of the replies that follow. For clients whose request
//! body a test does not write, and for gateways that translate a request and drop a field that they do not know.
//!
//! `[[call NAME {…}]]` is one tool call, `[[simulate {…}]]` the `simulate` field, and `[[then]]` ends the part for one
//! reply. Reads scripts; does not carry them out.

use serde_json::{Deserializer, Map, Value};

use crate::simulate::ScriptedCall;

/// The part of a script that is for one reply.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Step {
    /// The tool calls, in their order.
    pub(crate) calls: Vec<ScriptedCall>,
    /// The value of `simulate`; `null`: none.
    pub(crate) simulate: Value,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    User,
    Assistant,
    /// A system, a developer or a tool.
    Other,
}

/// The step for the next message of a conversation: the last user message with a script is the one that counts, and each
/// message of the assistant after it was one step. Past the last step there is nothing. The error names the mistake.
pub(crate) fn next_step<'a>(
    messages: impl DoubleEndedIterator<Item = (Author, &'a str)>,
) -> Result<Step, String> {
    let mut replies = 0;
    for (author, text) in messages.rev() {
        match author {
            Author::Assistant => replies += 1,
            Author::User => {
                let (_, mut steps) = read(text)?;
                if !steps.is_empty() {
                    return Ok(if replies < steps.len() {
                        steps.swap_remove(replies)
                    } else {
                        Step::default()
                    });
                }
            }
            Author::Other => {}
        }
    }
    Ok(Step::default())
}

/// The text without its script. Text without a script is returned unchanged.
pub(crate) fn without(text: &str) -> String {
    match read(text) {
        Ok((plain, steps)) if !steps.is_empty() => plain.trim().to_owned(),
        _ => text.to_owned(),
    }
}

/// The text without its directives, and the steps; no steps if there are no directives.
fn read(text: &str) -> Result<(String, Vec<Step>), String> {
    let (mut plain, mut rest) = (String::new(), text);
    let (mut steps, mut step, mut is_script) = (Vec::new(), Step::default(), false);
    while let Some((before, after)) = rest.split_once("[[") {
        plain.push_str(before);
        let is_directive = if let Some(after) = after.strip_prefix("call ") {
            let end =
                after.find(|letter: char| letter.is_whitespace() || letter == ']').unwrap_or(after.len());
            let (name, after) = after.split_at_checked(end).unwrap_or((after, ""));
            let (input, after) = argument(after)?;
            let input = match input {
                Value::Null => Map::new(),
                Value::Object(input) => input,
                other => {
                    return Err(format!("script: the arguments of {name} must be an object, not {other}"));
                }
            };
            step.calls.push(ScriptedCall { name: name.to_owned(), input });
            rest = after;
            true
        } else if let Some(after) =
            after.strip_prefix("simulate").filter(|after| after.starts_with(char::is_whitespace))
        {
            (step.simulate, rest) = argument(after)?;
            true
        } else if let Some(after) = after.strip_prefix("then]]") {
            steps.push(std::mem::take(&mut step));
            rest = after;
            true
        } else {
            plain.push_str("[[");
            rest = after;
            false
        };
        is_script |= is_directive;
    }
    if is_script {
        steps.push(step);
    }
    plain.push_str(rest);
    Ok((plain, steps))
}

/// The JSON value before `]]`, `null` if there is none, and the text after the brackets.
fn argument(text: &str) -> Result<(Value, &str), String> {
    if let Some(after) = text.trim_start().strip_prefix("]]") {
        return Ok((Value::Null, after));
    }
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => return Err(format!("script: {error}")),
        None => return Err("script: the directive does not end with ]]".to_owned()),
    };
    let after = text.get(values.byte_offset()..).unwrap_or_default().trim_start();
    let after = after.strip_prefix("]]").ok_or("script: the directive does not end with ]]")?;
    Ok((value, after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCRIPT: &str = "Run [[call Bash {\"command\":\"[[ ! -f a ]]\"}]][[call Read]] please [[then]] \
                          [[simulate {\"status\":529}]]";

    fn step(messages: &[(Author, &str)]) -> Step {
        next_step(messages.iter().copied()).unwrap()
    }

    #[test]
    fn each_reply_has_its_step() {
        let mut messages = vec![(Author::User, SCRIPT)];
        let first = step(&messages);
        let calls: Vec<_> = first.calls.iter().map(|call| (call.name.as_str(), call.input.len())).collect();
        assert_eq!((calls, &first.simulate), (vec![("Bash", 1), ("Read", 0)], &Value::Null));
        messages.extend([(Author::Assistant, ""), (Author::Other, SCRIPT)]);
        assert_eq!(step(&messages), Step { calls: Vec::new(), simulate: json!({"status": 529}) });
        messages.extend([(Author::Assistant, ""), (Author::User, "[[no directive]]")]);
        assert_eq!(step(&messages), Step::default());
        messages.push((Author::User, "[[call Write {}]]"));
        assert_eq!(step(&messages).calls[0].name, "Write");
    }

    #[test]
    fn a_text_is_separated_from_its_script() {
        assert_eq!(without(SCRIPT), "Run  please");
        for text in [" a [[b]] ", "", "[[", "[[call"] {
            assert_eq!(without(text), text);
        }
    }

    #[test]
    fn a_script_needs_no_blank() {
        let script = "Hi[[simulate\n{\"content\":\"a\\u0020b\"}]]";
        let step = next_step([(Author::User, script)].into_iter()).unwrap();
        assert_eq!(step.simulate, json!({"content": "a b"}));
    }

    #[test]
    fn a_mistyped_script_is_an_error() {
        for (script, part) in [
            ("[[call Bash {\"a\":}]]", "expected value"),
            ("[[call Bash {} ]", "does not end"),
            ("[[call Bash [1]]]", "must be an object"),
            ("[[simulate {\"status\":1}", "does not end"),
            ("[[simulate ", "does not end"),
        ] {
            let error = next_step([(Author::User, script)].into_iter()).unwrap_err();
            assert!(error.contains(part), "{script}: {error}");
        }
    }
}
