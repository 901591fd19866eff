//! A sandbox that answers reads with something else than it stores.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::harness::{OBSERVATIONS, Reply, Request, Scripted, forward};
use crate::support::stand_in::Sandbox;

/// Where an older Langfuse is asked for a trace; its id follows.
pub const LEGACY: &str = "/api/public/traces/";

/// Whether a request reads traces, through either interface.
pub fn is_reading(request: &Request) -> bool {
    request.path.starts_with(OBSERVATIONS) || request.path.starts_with(LEGACY)
}

/// Answers the first requests that read by `replies`, one after the other, and the others as the sandbox does.
pub fn stumbling(sandbox: &Arc<Sandbox>, replies: Vec<Reply>) -> Scripted {
    let replies = Mutex::new(replies.into_iter());
    Scripted::in_front_of(sandbox, move |request, _| {
        is_reading(request).then(|| replies.lock().unwrap().next())?
    })
}

/// A sandbox with `change` applied to each answer to a read.
pub fn changing(
    sandbox: &Arc<Sandbox>,
    change: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Scripted {
    let behind = Arc::downgrade(sandbox);
    Scripted::in_front_of(sandbox, move |request, _| {
        if !is_reading(request) {
            return None;
        }
        match forward(&*behind.upgrade()?, request) {
            Reply::Answer(200, content_type, body) => {
                let mut body = serde_json::from_str(&body).unwrap();
                change(&mut body);
                Some(Reply::Answer(200, content_type, body.to_string()))
            }
            other => Some(other),
        }
    })
}

/// Puts `value` wherever an answer of either interface states this field.
pub fn put(answer: &mut Value, field: &str, value: &Value) {
    match answer {
        Value::Object(fields) => {
            for (name, found) in fields.iter_mut() {
                if name == field {
                    *found = value.clone();
                } else if name == "data" || name == "observations" {
                    put(found, field, value);
                }
            }
        }
        Value::Array(rows) => rows.iter_mut().for_each(|row| put(row, field, value)),
        _ => {}
    }
}

/// Takes every export and stores none.
pub fn without_a_worker(sandbox: &Arc<Sandbox>) -> Scripted {
    Scripted::before(sandbox, |_, _, _| Reply::json(200, &json!({})))
}
