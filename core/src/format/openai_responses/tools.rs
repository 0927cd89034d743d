//! The tools of a request, and their names for an upstream that knows only functions.
//!
//! A `custom` tool becomes a function with one argument, its free text. A tool in a `namespace` becomes a function whose
//! name contains the namespace. The names follow from the request alone, so [`Named`] restores the caller's tool in the
//! response without state. Hosted tools, which only their provider can run, are not tools of the neutral form.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::fields::{Fields, Path};
use crate::conversation::Tool;
use crate::error::Error;

/// The argument with the text of a `custom` tool.
pub(super) const INPUT: &str = "input";

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Tools {
    /// The functions, with the names for the upstream.
    pub(super) functions: Vec<Tool>,
    /// The tools whose calls the caller expects in another shape than the upstream writes.
    pub(super) named: Vec<Named>,
    /// The types of the hosted tools.
    pub(super) hosted: Vec<String>,
}

/// A tool of the caller's that the upstream knows by another name, or as a function although it is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The upstream's name.
    pub(super) function: String,
    /// The caller's name.
    pub(super) name: String,
    /// The caller's namespace.
    pub(super) namespace: Option<String>,
    /// `true` if its calls are `custom_tool_call`s.
    pub(super) is_custom: bool,
}

/// The upstream's name of a tool.
pub(super) fn function_name<'a>(namespace: Option<&str>, name: &'a str) -> Cow<'a, str> {
    namespace.map_or(Cow::Borrowed(name), |namespace| Cow::Owned(format!("{namespace}__{name}")))
}

impl Tools {
    /// Adds the tools of a list.
    pub(super) fn add(&mut self, list: Vec<Value>, path: &Path<'_>) -> Result<(), Error> {
        for (index, value) in list.into_iter().enumerate() {
            let path = Path::Index(path, index);
            let mut tool = Fields::of(value, &path)?;
            let kind = tool.required_text("type")?;
            if kind == "namespace" {
                self.add_namespace(tool)?;
            } else {
                self.add_tool(kind, tool, None)?;
            }
        }
        Ok(())
    }

    /// The description of a namespace goes to its first tool.
    fn add_namespace(&mut self, mut namespace: Fields<'_>) -> Result<(), Error> {
        let name = namespace.required_text("name")?;
        let description = namespace.text("description")?;
        let first = self.functions.len();
        let list = namespace.list("tools")?.unwrap_or_default();
        let path = namespace.at("tools");
        for (index, value) in list.into_iter().enumerate() {
            let path = Path::Index(&path, index);
            let mut tool = Fields::of(value, &path)?;
            let kind = tool.required_text("type")?;
            self.add_tool(kind, tool, Some(&name))?;
        }
        if let (Some(tool), Some(description)) = (self.functions.get_mut(first), description)
            && !description.is_empty()
        {
            let text = tool.description.get_or_insert_default();
            let gap = if text.is_empty() { "" } else { "\n\n" };
            *text = format!("{text}{gap}About all tools of `{name}`: {description}");
        }
        Ok(())
    }

    fn add_tool(&mut self, kind: String, mut tool: Fields<'_>, namespace: Option<&str>) -> Result<(), Error> {
        let is_custom = match kind.as_str() {
            "function" => false,
            "custom" => true,
            _ => {
                self.hosted.push(kind);
                return Ok(());
            }
        };
        let name = tool.required_text("name")?;
        let function = function_name(namespace, &name).into_owned();
        if self.functions.iter().any(|tool| tool.name == function) {
            return Ok(());
        }
        let description = tool.text("description")?;
        let strict = tool.flag("strict")?;
        let (description, parameters) = if is_custom {
            custom(description, tool.object("format")?.as_ref())
        } else {
            (description, tool.object("parameters")?.unwrap_or_else(no_parameters))
        };
        if is_custom || namespace.is_some() {
            let namespace = namespace.map(str::to_owned);
            self.named.push(Named { function: function.clone(), name, namespace, is_custom });
        }
        self.functions.push(Tool { name: function, description, parameters, strict, cache_control: None });
        Ok(())
    }
}

/// The description and the parameters of the function in place of a `custom` tool.
fn custom(
    description: Option<String>,
    format: Option<&Map<String, Value>>,
) -> (Option<String>, Map<String, Value>) {
    let text = |name: &str| format?.get(name)?.as_str();
    let rule = match (text("definition"), text("syntax")) {
        (Some(definition), syntax) => {
            let syntax = syntax.unwrap_or("formal");
            format!("The argument `{INPUT}` must match this {syntax} grammar:\n\n{definition}")
        }
        (None, _) => format!("The argument `{INPUT}` is free text."),
    };
    let description = match description {
        Some(description) if !description.is_empty() => format!("{description}\n\n{rule}"),
        _ => rule,
    };
    let mut parameters = no_parameters();
    parameters.insert("properties".to_owned(), json!({ INPUT: { "type": "string" } }));
    parameters.insert("required".to_owned(), json!([INPUT]));
    parameters.insert("additionalProperties".to_owned(), Value::Bool(false));
    (Some(description), parameters)
}

/// The schema of a function without arguments.
fn no_parameters() -> Map<String, Value> {
    let mut parameters = Map::new();
    parameters.insert("type".to_owned(), Value::from("object"));
    parameters.insert("properties".to_owned(), Value::Object(Map::new()));
    parameters
}

/// The arguments of the function in place of a `custom` tool.
pub(super) fn custom_arguments(input: &str) -> String {
    json!({ INPUT: input }).to_string()
}
