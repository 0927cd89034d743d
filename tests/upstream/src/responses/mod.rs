//! OpenAI Responses: creates responses, counts and compacts input, and returns what it has stored. `input` reads the items
//! of a request, `check` rejects what the real API rejects, `sealed` makes and verifies what only the provider can read,
//! `write` writes the wire format, and `stored` keeps responses.

mod check;
mod input;
mod sealed;
mod stored;
mod write;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::chat::{chosen, object, simulates};
use crate::faults::Wire;
use crate::record::Billed;
use crate::rejection::Rejection;
use crate::reply::{Ask, Reply, Turn};
use crate::response::{Generated, Response};
use crate::script::{self, Step};
use crate::simulate::{Simulate, Wanted};
use crate::when::Caller;
use crate::whole::Head;
use input::{Offered, items, offered, strings};
use sealed::Kind;
pub(crate) use stored::Store;
use stored::Stored;

/// The action that a path and a method name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    /// The number of tokens of an input.
    Count,
    Compact,
    Retrieve(String),
    Delete(String),
    Cancel(String),
    InputItems(String),
}

/// The last part of the paths of this API.
const ROOT: &str = "/responses";

impl Action {
    /// Reads a path. `None`: it is not one of this API; the second part is the method that it accepts, with a `GET` or
    /// a `DELETE` chosen by `is_delete`.
    pub(crate) fn of(path: &str, is_delete: bool) -> Option<(Self, Method)> {
        let (_, rest) = path.rsplit_once(ROOT)?;
        let mut parts = rest.split('/').skip(1);
        let action = match (rest, parts.next(), parts.next(), parts.next()) {
            ("", ..) => (Self::Create, Method::POST),
            (_, Some("input_tokens"), None, _) => (Self::Count, Method::POST),
            (_, Some("compact"), None, _) => (Self::Compact, Method::POST),
            (_, Some(id), None, _) if !id.is_empty() && is_delete => {
                (Self::Delete(id.to_owned()), Method::DELETE)
            }
            (_, Some(id), None, _) if !id.is_empty() => (Self::Retrieve(id.to_owned()), Method::GET),
            (_, Some(id), Some("cancel"), None) => (Self::Cancel(id.to_owned()), Method::POST),
            (_, Some(id), Some("input_items"), None) => (Self::InputItems(id.to_owned()), Method::GET),
            _ => return None,
        };
        rest.is_empty().then_some(()).or_else(|| rest.starts_with('/').then_some(()))?;
        Some(action)
    }
}

/// The account that a request is for: a base path and a credential. Responses and what is encrypted belong to one.
fn account(path: &str, caller: &Caller<'_>) -> String {
    let base = path.rsplit_once(ROOT).map_or(path, |(base, _)| base);
    format!("{base}|{}", caller.keys.first().copied().unwrap_or_default())
}

/// A request, with everything that its response depends on.
struct Responses {
    /// The body.
    request: Value,
    /// The items of the input, those of earlier responses that it refers to included.
    items: Vec<Value>,
    /// The account of the caller.
    account: String,
    model: String,
    stream: bool,
    limit: Option<u64>,
    prompt_tokens: u64,
    turn: Turn,
    tools: Vec<Offered>,
    earlier_calls: u64,
    /// The field that holds the text if the content must be JSON.
    json: Option<String>,
    thinks: bool,
    simulate: Simulate,
}

/// Responds to a request of this API.
pub(crate) fn respond(
    action: &Action,
    body: &[u8],
    (path, query): (&str, Option<&str>),
    caller: &Caller<'_>,
    head: &Head,
    store: &Store,
) -> Result<(Response, Simulate), Rejection> {
    let account = account(path, caller);
    let answer = |value: Value| Ok((Response::json(StatusCode::OK, value.to_string()), Simulate::default()));
    match action {
        Action::Create => create(body, &account, caller, head, store),
        Action::Count => count(body, &account, caller, head, store),
        Action::Compact => compact(body, &account, caller, head, store),
        Action::Retrieve(id) => {
            let wanted = |name: &str| {
                let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
                pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
            };
            store.retrieved(&account, id, |stored| match wanted("stream") {
                Some("true") => {
                    let after = wanted("starting_after").and_then(|number| number.parse().ok());
                    Response::resumed(stored.events(after))
                }
                _ => Response::json(StatusCode::OK, stored.response.to_string()),
            })
        }
        Action::Delete(id) => {
            store.delete(&account, id)?;
            answer(json!({"id": id, "object": "response", "deleted": true}))
        }
        Action::Cancel(id) => answer(store.cancel(&account, id)?),
        Action::InputItems(id) => answer(store.input_items(&account, id)?),
    }
}

fn create(
    body: &[u8],
    account: &str,
    caller: &Caller<'_>,
    head: &Head,
    store: &Store,
) -> Result<(Response, Simulate), Rejection> {
    let responses = Responses::read(body, account, caller, store, Purpose::Create)?;
    let reply = Reply::to(&responses.ask());
    let written = write::Written::new(&responses, &reply, head);
    let flag = |name: &str| responses.request.get(name).and_then(Value::as_bool);
    let is_background = flag("background") == Some(true);
    let is_stored = is_background || flag("store") != Some(false);
    if is_stored && responses.simulate.generates() {
        store.keep(
            account,
            Stored {
                response: written.whole(),
                begun: written.begun("queued"),
                input: input::listed(&responses.items, head.n),
                events: written.events().into_parts().0,
                is_background,
            },
        );
    }
    let whole = || {
        if is_background { written.begun("queued").to_string() } else { written.text() }
    };
    let events = || written.events();
    let bill = responses.bill(&reply);
    let generated = Generated {
        simulate: &responses.simulate,
        wire: Wire::Openai,
        whole: &whole,
        events: if responses.stream { Some(&events) } else { None },
        prompt_tokens: responses.prompt_tokens,
        tokens: reply.tokens,
        bill: if responses.simulate.bill.is_some() { bill } else { Billed::default() },
    };
    let response = Response::to(&generated, head.n)?;
    Ok((response, responses.simulate))
}

fn count(
    body: &[u8],
    account: &str,
    caller: &Caller<'_>,
    head: &Head,
    store: &Store,
) -> Result<(Response, Simulate), Rejection> {
    let responses = Responses::read(body, account, caller, store, Purpose::Count)?;
    let counted = json!({"object": "response.input_tokens", "input_tokens": responses.prompt_tokens});
    responses.without_content(head, &|| counted.to_string())
}

/// The messages of the user, and everything in one item that only this account can read.
fn compact(
    body: &[u8],
    account: &str,
    caller: &Caller<'_>,
    head: &Head,
    store: &Store,
) -> Result<(Response, Simulate), Rejection> {
    let responses = Responses::read(body, account, caller, store, Purpose::Count)?;
    let is_user = |item: &&Value| item.get("role").is_some_and(|role| role == "user");
    let users: Vec<Value> = responses.items.iter().filter(is_user).cloned().collect();
    let mut output = input::listed(&users, head.n);
    output.push(json!({
        "id": format!("cmp_sim_{}", head.n),
        "type": "compaction",
        "encrypted_content": sealed::seal(Kind::Compaction, account),
    }));
    let input = responses.prompt_tokens;
    let compacted = json!({
        "id": format!("resp_sim_{}", head.n), "object": "response.compaction", "created_at": head.created,
        "output": output,
        "usage": {"input_tokens": input, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + 1},
    });
    responses.without_content(head, &|| compacted.to_string())
}

/// The purpose of a request body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Create,
    /// Only its input counts.
    Count,
}

impl Responses {
    fn read(
        body: &[u8],
        account: &str,
        caller: &Caller<'_>,
        store: &Store,
        purpose: Purpose,
    ) -> Result<Self, Rejection> {
        let value = object(body)?;
        let creates = purpose == Purpose::Create;
        let stream = creates && value.get("stream") == Some(&Value::Bool(true));
        let wanted = match (creates, stream) {
            (false, _) => Wanted::Count,
            (true, true) => Wanted::ResponseStream,
            (true, false) => Wanted::Response,
        };
        let earlier = value.get("previous_response_id").and_then(Value::as_str);
        let mut items = match earlier {
            Some(id) => store.conversation(account, id)?,
            None => Vec::new(),
        };
        items.extend(self::items(&value));
        store.resolve(account, &mut items)?;
        // A script is for the reply, and there is none to a request that counts.
        let step = if creates {
            let spoken = input::spoken(&items);
            script::next_step(spoken.iter().map(|(author, text)| (*author, text.as_str())))
                .map_err(|message| Rejection::new(message, Some("input")))?
        } else {
            Step::default()
        };
        let simulates = simulates(&value, &step, wanted)?;
        if !simulates.iter().any(|simulate| simulate.lenient) {
            check::request(&value, &items, account, store)?;
        }
        let model = value.get("model").and_then(Value::as_str);
        // After everything that can reject the request, since this counts it.
        let simulate = chosen(simulates, step, caller, model, stream);
        let tools = offered(&value, &items);
        let effort = value.pointer("/reasoning/effort").and_then(Value::as_str);
        Ok(Self {
            account: account.to_owned(),
            model: model.unwrap_or("simulated").to_owned(),
            stream,
            limit: value.get("max_output_tokens").and_then(Value::as_u64),
            prompt_tokens: input::tokens(&value, &items, simulate.bill.is_some_and(|bill| bill.dense)),
            turn: input::turn(&value, &items, &tools),
            earlier_calls: items.iter().filter(|item| input::is_call(item)).count() as u64,
            json: json_field(&value),
            thinks: effort.is_some_and(|effort| effort != "none"),
            tools,
            items,
            request: value,
            simulate,
        })
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            simulate: &self.simulate,
            turn: &self.turn,
            has_tools: !self.tools.is_empty(),
            earlier_calls: self.earlier_calls,
            json: self.json.as_deref(),
            limit: self.limit.map(|limit| limit.saturating_sub(self.billed_reasoning())),
            stops: &[],
            thinks: self.thinks,
        }
    }

    /// True if the thoughts that nobody scripted are shown as a summary.
    fn shows_thoughts(&self) -> bool {
        self.simulate.thinking.is_some()
            || self.request.pointer("/reasoning/summary").is_some_and(|summary| !summary.is_null())
    }

    /// True if reasoning comes with its encrypted form.
    fn encrypts(&self) -> bool {
        let include = strings(self.request.get("include"));
        include.iter().any(|name| name == "reasoning.encrypted_content")
    }

    /// The tokens of reasoning that are billed without being sent.
    fn billed_reasoning(&self) -> u64 {
        let reasoning = self.simulate.bill.map_or(0, |bill| bill.reasoning);
        reasoning.min(self.limit.unwrap_or(u64::MAX))
    }

    /// The tokens of the call, which are also those of its usage.
    fn bill(&self, reply: &Reply) -> Billed {
        let bill = self.simulate.bill.unwrap_or_default();
        let cached = bill.cached.min(self.prompt_tokens);
        let written = bill.cache_write.min(self.prompt_tokens - cached);
        Billed {
            prompt: self.prompt_tokens - cached - written,
            cached,
            written,
            completion: reply.tokens + self.billed_reasoning(),
            ..Billed::default()
        }
    }

    /// A response that has no content of the model.
    fn without_content(
        self,
        head: &Head,
        whole: &dyn Fn() -> String,
    ) -> Result<(Response, Simulate), Rejection> {
        let generated = Generated {
            simulate: &self.simulate,
            wire: Wire::Openai,
            whole,
            events: None,
            prompt_tokens: 0,
            tokens: 0,
            bill: Billed::default(),
        };
        let response = Response::to(&generated, head.n)?;
        Ok((response, self.simulate))
    }
}

/// The field that holds the text if the content must be JSON: the first required one of the schema.
fn json_field(request: &Value) -> Option<String> {
    let format = request.pointer("/text/format")?;
    let named = || strings(format.pointer("/schema/required")).into_iter().next();
    match format.get("type")?.as_str()? {
        "json_object" => Some("answer".to_owned()),
        "json_schema" => Some(named().unwrap_or_else(|| "answer".to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_action() {
        let of = |path: &str| Action::of(path, false);
        assert_eq!(of("/v1/responses"), Some((Action::Create, Method::POST)));
        assert_eq!(of("/first/responses/input_tokens"), Some((Action::Count, Method::POST)));
        assert_eq!(of("/responses/compact"), Some((Action::Compact, Method::POST)));
        assert_eq!(of("/v1/responses/resp_1"), Some((Action::Retrieve("resp_1".into()), Method::GET)));
        let deleted = Action::of("/v1/responses/resp_1", true);
        assert_eq!(deleted, Some((Action::Delete("resp_1".into()), Method::DELETE)));
        assert_eq!(of("/v1/responses/resp_1/cancel"), Some((Action::Cancel("resp_1".into()), Method::POST)));
        assert_eq!(
            of("/v1/responses/resp_1/input_items"),
            Some((Action::InputItems("resp_1".into()), Method::GET))
        );
        for other in [
            "/v1/responsesx",
            "/v1/models",
            "/v1/responses/",
            "/v1/responses/a/b",
            "/v1/responses/a/cancel/c",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
