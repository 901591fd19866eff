//! The request of a generation, in the dialect that it was asked in, or in another one that an option names.

use serde_json::{Map, Value};

use super::forms;
use super::input::{InputKind, TakenInput, unsupported};
use super::parameters::{self, Parameters};
use crate::app::hints;
use crate::failure::Failure;
use crate::json::lenient;
use crate::langfuse::Row;
use crate::model::Request;
use crate::model::dialect::{
    CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, ModelDialect, RESPONSES, TracedInput,
};
use crate::model::fields::BodyFields;
use crate::settings::ModelSettings;

/// The instrumentation scope of this program's own traces.
const OWN_SCOPE: &str = env!("CARGO_PKG_NAME");

/// A request, and what is worth a warning about it.
#[derive(Debug)]
pub struct RestoredRequest {
    pub request: Request,
    pub warnings: Vec<String>,
}

/// The request of a generation with this input.
///
/// # Errors
/// If its dialect is not asked, or it cannot be put into the one that an option names.
pub fn request(
    row: &Row,
    input: TakenInput,
    model: &ModelSettings,
) -> Result<RestoredRequest, Failure> {
    let asked = model
        .preference()
        .filter(|preference| preference.is_option)
        .map(|preference| preference.dialect);
    let is_own = row.metadata("scope.name") == Some(OWN_SCOPE);
    let operation = format!("{} ", COMPLETIONS.operation());
    let is_older = row
        .text("name")
        .is_some_and(|name| name.starts_with(&operation));
    if is_older && asked.is_none() {
        return Err(unsupported(COMPLETIONS.title()));
    }
    let TakenInput {
        mut content,
        kind,
        fields,
    } = input;
    let mut warnings = Vec::new();
    if kind == InputKind::Prompt {
        warnings.push("the input is a text alone: it is asked as the message of a user".to_owned());
    }
    if kind != InputKind::Embedding {
        forms::to_chat(&mut content.conversation, &mut content.tools);
    }
    let dialect = dialect(row, kind, &content);
    let limit = |dialect: &dyn ModelDialect| {
        let endpoint = model.endpoint_of(dialect);
        endpoint.provider.max_tokens_field(&endpoint.base)
    };
    let named_model = named_model(row, &fields);
    let found = if is_own {
        parameters::of_own(row, dialect)
    } else {
        parameters::of_other(row, fields, dialect, limit(dialect))
    };
    let mut left_out = found.left_out;
    let body = body(named_model, &dialect.restored(content), found.fields);
    let mut request = Request::default().with_fields(body).in_dialect(dialect);
    if let Some(asked) = asked.filter(|asked| *asked != dialect) {
        let (converted, not_taken) = converted(&request, asked, limit(asked))?;
        request = converted;
        left_out.extend(not_taken);
    }
    if !left_out.is_empty() {
        warnings.push(format!(
            "left out, since {} is not known to take it: {}; -p KEY=VALUE sets a field",
            request.dialect().title(),
            left_out.join(", ")
        ));
    }
    Ok(RestoredRequest { request, warnings })
}

/// The dialect in which a generation was asked, as far as it shows; chat completions otherwise.
fn dialect(row: &Row, kind: InputKind, content: &TracedInput) -> &'static dyn ModelDialect {
    let output = match row.field("output") {
        Value::String(text) => lenient::parse(text).unwrap_or_default(),
        output => output.clone(),
    };
    let has_limit_of_responses = row
        .field("modelParameters")
        .get("max_output_tokens")
        .is_some();
    match kind {
        InputKind::Embedding => EMBEDDINGS,
        InputKind::Items => RESPONSES,
        _ if RESPONSES.is_traced_in(content, &output) || has_limit_of_responses => RESPONSES,
        _ if MESSAGES.is_traced_in(content, &output) => MESSAGES,
        _ => CHAT,
    }
}

/// The model that was asked: the answer's may be a dated version, which other servers do not know by that name.
fn named_model(row: &Row, fields: &Map<String, Value>) -> Option<String> {
    let operation = |name: &'_ str| {
        let (operation, model) = name.split_once(' ')?;
        let is_model = !model.is_empty() && !model.contains(' ');
        let is_operation = [CHAT, EMBEDDINGS, COMPLETIONS]
            .iter()
            .any(|dialect| dialect.operation() == operation);
        (is_operation && is_model).then(|| model.to_owned())
    };
    let text = |text: &str| {
        let text = text.trim_matches('"');
        (!text.is_empty()).then(|| text.to_owned())
    };
    row.text("name")
        .and_then(operation)
        .or_else(|| text(row.metadata("attributes.gen_ai.request.model")?))
        .or_else(|| text(fields.get("model")?.as_str()?))
        .or_else(|| text(row.text("model")?))
}

/// A body: the model first, then the conversation, then the parameters.
fn body(model: Option<String>, content: &BodyFields, parameters: Map<String, Value>) -> BodyFields {
    let mut body = BodyFields::default();
    if let Some(model) = model {
        body.set("model", &model);
    }
    for (name, value) in content.fields() {
        body.set_raw(name, value.to_owned());
    }
    for (name, value) in parameters {
        if body.raw(&name).is_none() {
            body.set(&name, &value);
        }
    }
    body
}

/// A request in another dialect, and the names of the parameters that it does not have.
fn converted(
    request: &Request,
    to: &'static dyn ModelDialect,
    limit: &'static str,
) -> Result<(Request, Vec<String>), Failure> {
    let from = request.dialect();
    if [from, to].contains(&EMBEDDINGS) {
        return Err(Failure::usage(format!(
            "--api {} contradicts the generation, which is one for {}",
            to.name(),
            from.name()
        ))
        .hint("omit --api: a generation has its own"));
    }
    let mut content = BodyFields::default();
    content.set("messages", &request.messages());
    let tools = from.chat_tools(request);
    if !tools.is_empty() {
        content.set("tools", &tools);
    }
    let beside = from.fields_beside_parameters();
    let stated = request
        .fields()
        .filter(|(name, _)| !beside.contains(name))
        .filter_map(|(name, value)| Some((name.to_owned(), lenient::parse(value.get()).ok()?)));
    // Its form is another in each dialect.
    let (choices, stated): (Map<String, Value>, Map<String, Value>) =
        stated.partition(|(name, _)| name == "tool_choice");
    let Parameters {
        fields,
        mut left_out,
    } = parameters::adapted(stated, to, limit);
    left_out.extend(choices.into_iter().map(|(name, _)| name));
    let body = body(request.model(), &content, fields);
    let adopted = Request::default().with_fields(body).adopted(to);
    let adopted = adopted.map_err(|why| Failure::input(why).hint(hints::DIALECTS))?;
    Ok((adopted, left_out))
}
