//! Names of tools that a format does not accept: too long, or with other characters.
//!
//! Such a name gets an alias, which follows from the name alone. The response has the alias, which [`restore`] turns
//! back by the tools of the request, so no state is needed.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::delta::Delta;
use super::{Conversation, Piece, ToolChoice};

/// The bytes of an alias that tell it from others with the same beginning.
const HASH: usize = 8;

/// The names behind the aliases of a request, by alias.
pub type Aliases = BTreeMap<String, String>;

/// Replaces every name of a tool that is longer than `longest` bytes, or has characters other than ASCII letters,
/// digits, `_` and `-`.
pub fn alias(conversation: &mut Conversation, longest: usize) -> Aliases {
    let mut aliases = Aliases::new();
    let mut replace = |name: &mut String| {
        if !is_accepted(name, longest) {
            let alias = alias_of(name, longest);
            aliases.insert(alias.clone(), std::mem::replace(name, alias));
        }
    };
    for tool in &mut conversation.tools {
        replace(&mut tool.name);
    }
    if let Some(ToolChoice::One(name)) = &mut conversation.tool_choice {
        replace(name);
    }
    for part in conversation.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        if let Piece::ToolCall(call) = &mut part.piece {
            replace(&mut call.name);
        }
    }
    aliases
}

/// A delta with the caller's name of the tool.
pub fn restore(delta: Delta, aliases: &Aliases) -> Delta {
    match delta {
        Delta::ToolCall { id, name } => {
            let name = aliases.get(&name).cloned().unwrap_or(name);
            Delta::ToolCall { id, name }
        }
        delta => delta,
    }
}

fn is_accepted(name: &str, longest: usize) -> bool {
    !name.is_empty() && name.len() <= longest && name.chars().all(is_plain)
}

fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-')
}

/// The beginning of the name, as far as it is accepted, and a hash of the whole.
fn alias_of(name: &str, longest: usize) -> String {
    let mut hash = hex::encode(Sha256::digest(name));
    hash.truncate(HASH);
    let plain = name.chars().map(|char| if is_plain(char) { char } else { '_' });
    let start: String = plain.take(longest.saturating_sub(HASH + 1)).collect();
    format!("{start}_{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{Role, Tool, ToolCall, Turn};

    #[test]
    fn a_name_that_is_not_accepted_has_the_same_alias_everywhere_and_comes_back() {
        let long = format!("mcp__{}__read.file", "x".repeat(80));
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: None,
            parameters: serde_json::Map::new(),
            strict: None,
            cache_control: None,
        };
        let call = ToolCall { id: "1".to_owned(), name: long.clone(), arguments: "{}".to_owned() };
        let mut conversation = Conversation {
            turns: vec![Turn { role: Role::Assistant, parts: vec![Piece::ToolCall(call).into()] }],
            tools: vec![tool("plain_name-1"), tool(&long), tool("with.dot")],
            tool_choice: Some(ToolChoice::One(long.clone())),
            ..Conversation::default()
        };
        let aliases = alias(&mut conversation, 64);
        let names: Vec<&str> = conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names[0], "plain_name-1");
        assert!(names.iter().all(|name| is_accepted(name, 64)), "{names:?}");
        let Piece::ToolCall(ToolCall { name, .. }) = &conversation.turns[0].parts[0].piece else { panic!() };
        assert_eq!(name, names[1]);
        assert_eq!(conversation.tool_choice, Some(ToolChoice::One(names[1].to_owned())));
        for (alias, name) in [(names[1], long.as_str()), (names[2], "with.dot"), (names[0], names[0])] {
            let call = |name: &str| Delta::ToolCall { id: "1".to_owned(), name: name.to_owned() };
            assert_eq!(restore(call(alias), &aliases), call(name));
        }
        assert_eq!(aliases.len(), 2);
    }
}
