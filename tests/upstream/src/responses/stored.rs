//! The responses that the provider keeps: those that were created without `store: false`, and those in the background.
//! Each belongs to the account that made it; every other account gets 404. Does not survive the program.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::input::output_of;
use crate::rejection::Rejection;
use crate::response::Response;
use crate::simulate::Simulate;

/// The largest number of responses that are kept; the oldest ones are removed.
const MAX_STORED: usize = 1000;

/// A response that is kept.
pub(super) struct Stored {
    /// The complete response.
    pub(super) response: Value,
    /// The response before anything was generated.
    pub(super) begun: Value,
    /// The items of its input.
    pub(super) input: Vec<Value>,
    /// The events of its stream.
    pub(super) events: String,
    /// True if it was created in the background, which can be cancelled.
    pub(super) is_background: bool,
}

impl Stored {
    fn id(&self) -> &str {
        self.response.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    /// The events after the one with this number; none: all.
    pub(super) fn events(&self, after: Option<u64>) -> String {
        let number = |event: &str| -> Option<u64> {
            let (_, rest) = event.split_once("\"sequence_number\":")?;
            rest.split([',', '}']).next()?.parse().ok()
        };
        let events = self.events.split_inclusive("\n\n");
        events.filter(|event| after.is_none_or(|after| number(event) > Some(after))).collect()
    }
}

/// All responses that are kept, each with its account.
#[derive(Default)]
pub(crate) struct Store(Mutex<VecDeque<(String, Stored)>>);

impl Store {
    /// Keeps a response.
    pub(super) fn keep(&self, account: &str, stored: Stored) {
        let mut all = self.lock();
        if all.len() >= MAX_STORED {
            all.pop_front();
        }
        all.push_back((account.to_owned(), stored));
    }

    /// Deletes all responses.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// The response to a request for a kept response.
    pub(super) fn retrieved(
        &self,
        account: &str,
        id: &str,
        with: impl Fn(&Stored) -> Response,
    ) -> Result<(Response, Simulate), Rejection> {
        self.with(account, id, |stored| Ok((with(stored), Simulate::default())))
    }

    /// Deletes a response.
    pub(super) fn delete(&self, account: &str, id: &str) -> Result<(), Rejection> {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|(owner, stored)| owner != account || stored.id() != id);
        if all.len() == before { Err(missing(id)) } else { Ok(()) }
    }

    /// Cancels a response in the background, which the client sees as not having generated anything.
    pub(super) fn cancel(&self, account: &str, id: &str) -> Result<Value, Rejection> {
        self.with(account, id, |stored| {
            if !stored.is_background {
                return Err(Rejection::new("Cannot cancel a synchronous response.", None));
            }
            let mut cancelled = stored.begun.clone();
            if let Some(status) = cancelled.get_mut("status") {
                *status = json!("cancelled");
            }
            stored.response = cancelled.clone();
            Ok(cancelled)
        })
    }

    /// The list of the items of a response's input, the newest first.
    pub(super) fn input_items(&self, account: &str, id: &str) -> Result<Value, Rejection> {
        self.with(account, id, |stored| {
            let items: Vec<&Value> = stored.input.iter().rev().collect();
            let id_of = |item: Option<&&Value>| item.and_then(|item| item.get("id")).cloned();
            let (first, last) = (id_of(items.first()), id_of(items.last()));
            Ok(json!({"object": "list", "data": items, "has_more": false, "first_id": first, "last_id": last}))
        })
    }

    /// The input and the output of a response, for the response that continues it.
    pub(super) fn conversation(&self, account: &str, id: &str) -> Result<Vec<Value>, Rejection> {
        let found = self.with(account, id, |stored| {
            Ok(stored.input.iter().chain(output_of(&stored.response)).cloned().collect())
        });
        found.map_err(|_| {
            Rejection::new(
                format!("Previous response with id '{id}' not found."),
                Some("previous_response_id"),
            )
            .with_code("previous_response_not_found")
        })
    }

    /// Replaces references to items by the items.
    pub(super) fn resolve(&self, account: &str, items: &mut [Value]) -> Result<(), Rejection> {
        for item in items {
            if item.get("type").is_some_and(|kind| kind == "item_reference") {
                let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
                *item = self.item(account, id).ok_or_else(|| unknown_item(id))?;
            }
        }
        Ok(())
    }

    /// An item of a response that the account has.
    pub(super) fn item(&self, account: &str, id: &str) -> Option<Value> {
        let all = self.lock();
        let own = all.iter().filter(|(owner, _)| owner == account);
        let mut items = own.flat_map(|(_, stored)| output_of(&stored.response).chain(&stored.input));
        items.find(|item| item.get("id").is_some_and(|known| known == id)).cloned()
    }

    fn with<T>(
        &self,
        account: &str,
        id: &str,
        act: impl FnOnce(&mut Stored) -> Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        let mut all = self.lock();
        let found = all.iter_mut().find(|(owner, stored)| owner == account && stored.id() == id);
        act(&mut found.ok_or_else(|| missing(id))?.1)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Stored)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rejection of an id that the account does not have.
fn missing(id: &str) -> Rejection {
    Rejection { status: 404, ..Rejection::new(format!("Response with id '{id}' not found."), None) }
}

/// The rejection of an item that refers to one that is not kept.
pub(super) fn unknown_item(id: &str) -> Rejection {
    let message = format!(
        "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` set \
         to true, or remove this item from your input."
    );
    Rejection::new(message, Some("input"))
}
