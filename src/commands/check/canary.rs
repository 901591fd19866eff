//! The trace that `check` sends without a model call. It costs nothing: question and answer are made up, and
//! say so.

use jiff::Timestamp;
use serde_json::json;

use crate::model::Request;
use crate::trace::Exchange;

/// The made-up exchange.
pub fn exchange() -> Exchange {
    const NAME: &str = "langspan-check";
    let now = Timestamp::now();
    let body = json!({
        "id": NAME,
        "model": NAME,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is, if this can be read."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    });
    let request = Request::chat(
        NAME,
        None,
        "Is this trace readable? (a canary; no model was called)",
    );
    let mut exchange = Exchange::new(request, now, now);
    exchange.set_parsed(body.to_string(), body);
    exchange
}
