//! One line of a batch's output or error file: OpenAI's `response` and `error`, or Anthropic's `result`.

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::batch_object::time;
use crate::json;
use crate::trace::ExchangeError;

/// What became of one request.
#[derive(Debug)]
pub struct BatchResult {
    /// The id of the output itself; Anthropic's have none.
    pub id: Option<String>,
    pub custom_id: String,
    /// The body of the answer; with an error, that of the refusal is not kept.
    pub body: Option<Box<RawValue>>,
    pub error: Option<ExchangeError>,
    /// When the answer was made, in whole seconds.
    pub created: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ResultShape<'a> {
    id: Option<Value>,
    custom_id: Option<Value>,
    #[serde(borrow)]
    response: Option<HttpShape<'a>>,
    error: Option<Value>,
    #[serde(borrow)]
    result: Option<OutcomeShape<'a>>,
}

#[derive(Deserialize)]
struct HttpShape<'a> {
    status_code: Option<u16>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutcomeShape<'a> {
    r#type: Option<Value>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    error: Option<Value>,
}

/// The fields of an answer that say when it was made.
#[derive(Default, Deserialize)]
struct AnswerTimes {
    #[serde(default)]
    created: Value,
    #[serde(default)]
    created_at: Value,
}

impl BatchResult {
    /// Reads a line.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let shape: ResultShape<'_> = json::from_slice(line).map_err(|error| {
            error
                .to_string()
                .replace(" at line 1 column ", " at column ")
        })?;
        let Some(Value::String(custom_id)) = shape.custom_id else {
            return Err("there is no `custom_id`".to_owned());
        };
        let (body, error) = match (shape.result, shape.response, shape.error) {
            (Some(result), None, _) => of_outcome(&result)?,
            (None, response, Some(error)) if !error.is_null() => {
                let body = response.and_then(|response| response.body);
                (body, Some(failed(words(&error), None)))
            }
            (None, Some(response), _) => of_answer(&response)?,
            _ => return Err("expected `response` and `error`, or `result`".to_owned()),
        };
        let body = body.filter(|_| error.is_none());
        let times = body.map(|body| serde_json::from_str(body.get()).unwrap_or_default());
        let times: AnswerTimes = times.unwrap_or_default();
        let id = shape.id.as_ref().and_then(Value::as_str);
        Ok(Self {
            id: id.filter(|id| !id.is_empty()).map(str::to_owned),
            custom_id,
            body: body.map(ToOwned::to_owned),
            error,
            created: time(&times.created).or_else(|| time(&times.created_at)),
        })
    }
}

type Outcome<'a> = (Option<&'a RawValue>, Option<ExchangeError>);

fn of_answer<'a>(response: &HttpShape<'a>) -> Result<Outcome<'a>, String> {
    let body = response.body.ok_or("`response` has no `body`")?;
    let status = response.status_code.unwrap_or(200);
    if (200..300).contains(&status) {
        return Ok((Some(body), None));
    }
    let refusal: Value = serde_json::from_str(body.get()).unwrap_or_default();
    let known = StatusCode::from_u16(status);
    let status_words = known.map_or_else(|_| status.to_string(), |known| known.to_string());
    let message = format!("answered {status_words}: {}", words(&refusal));
    Ok((None, Some(failed(message, Some(status)))))
}

fn of_outcome<'a>(result: &OutcomeShape<'a>) -> Result<Outcome<'a>, String> {
    let kind = result.r#type.as_ref().and_then(Value::as_str);
    let message = match (kind, result.message) {
        (Some("succeeded"), Some(message)) => return Ok((Some(message), None)),
        (Some("succeeded"), None) => return Err("`result` has no `message`".to_owned()),
        (Some("errored"), _) => words(result.error.as_ref().unwrap_or(&Value::Null)),
        (Some("canceled"), _) => "the batch was canceled before this request was sent".to_owned(),
        (Some("expired"), _) => "the batch expired before this request was sent".to_owned(),
        (Some(other), _) => format!("the result is `{other}`"),
        (None, _) => return Err("`result` has no `type`".to_owned()),
    };
    Ok((None, Some(failed(message, None))))
}

fn failed(message: String, status: Option<u16>) -> ExchangeError {
    ExchangeError {
        kind: "model".to_owned(),
        message,
        status,
    }
}

/// The provider's own words: code or type, and message, of an error that may be wrapped in another.
fn words(error: &Value) -> String {
    if let inner @ Value::Object(_) = &error["error"] {
        return words(inner);
    }
    let text = |name: &str| error[name].as_str().filter(|text| !text.is_empty());
    let code = text("code").or_else(|| text("type"));
    match (code, text("message").or_else(|| error.as_str())) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(words), None) | (None, Some(words)) => words.to_owned(),
        (None, None) if error.is_null() => "the provider gives no reason".to_owned(),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> (String, Option<u16>) {
        let result = BatchResult::parse(line.as_bytes()).unwrap();
        assert!(result.body.is_none());
        let error = result.error.unwrap();
        (error.message, error.status)
    }

    #[test]
    fn an_answer_has_body_id_and_time() {
        let line = r#"{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"r","body":{"id":"c","created":1760000000,"choices":[]}},"error":null}"#;
        let result = BatchResult::parse(line.as_bytes()).unwrap();
        assert_eq!(
            (result.id.as_deref(), result.custom_id.as_str()),
            (Some("batch_req_1"), "a")
        );
        assert_eq!(result.created, time(&1_760_000_000.into()));
        assert!(result.error.is_none() && result.body.is_some());
        let line = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"id":"msg_1","content":[]}}}"#;
        let result = BatchResult::parse(line.as_bytes()).unwrap();
        assert!((result.id, result.created, result.error) == (None, None, None));
        assert!(result.body.is_some());
        let line = r#"{"custom_id":"a","response":{"status_code":200,"body":{"created_at":1760000000.0}}}"#;
        let result = BatchResult::parse(line.as_bytes()).unwrap();
        assert_eq!(result.created, time(&1_760_000_000.into()));
    }

    #[test]
    fn a_failed_line_has_the_providers_words() {
        let refused = r#"{"id":"1","custom_id":"a","response":{"status_code":400,"request_id":"","body":{"error":{"message":"Unknown field.","type":"invalid_request_error","code":null}}},"error":null}"#;
        assert_eq!(
            error(refused),
            (
                "answered 400 Bad Request: invalid_request_error: Unknown field.".to_owned(),
                Some(400)
            )
        );
        let expired = r#"{"id":"1","custom_id":"a","response":null,"error":{"code":"batch_expired","message":"Too late."}}"#;
        assert_eq!(error(expired).0, "batch_expired: Too late.");
        let errored = r#"{"custom_id":"a","result":{"type":"errored","error":{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}}}"#;
        assert_eq!(error(errored).0, "overloaded_error: Overloaded");
        for kind in ["canceled", "expired"] {
            let line = format!(r#"{{"custom_id":"a","result":{{"type":"{kind}"}}}}"#);
            assert!(error(&line).0.contains(kind));
        }
    }

    #[test]
    fn other_lines_say_what_is_wrong() {
        let wrong = |line: &str| BatchResult::parse(line.as_bytes()).unwrap_err();
        assert!(wrong(r#"{"id":"1","response":{"body":{}}}"#).contains("`custom_id`"));
        assert!(wrong(r#"{"custom_id":"a","body":{}}"#).contains("`response`"));
        assert!(wrong(r#"{"custom_id":"a","response":{"status_code":200}}"#).contains("`body`"));
        assert!(wrong(r#"{"custom_id":"a","result":{"type":"succeeded"}}"#).contains("`message`"));
        assert!(wrong("{").contains("EOF"));
    }
}
