//! `GET /api/public/traces/{id}` as servers before v4 answer it: one document with the trace and
//! all its observations. Pure functions over the stored observations.

use serde_json::{Map, Value, json};

use crate::sandbox::PROJECT_ID;
use crate::sandbox::ingest::{Attributes, double};
use crate::sandbox::observation::{Observation, sum_of};
use crate::sandbox::time;
use crate::sort;

/// The whole trace; `None` when it has no observation yet.
pub fn trace(mut observations: Vec<Observation>) -> Option<Value> {
    sort::sort_by(&mut observations, |a, b| {
        (a.start, &a.id).cmp(&(b.start, &b.id))
    });
    let start = observations.first()?.start;
    let end = observations.iter().map(|row| row.end).max()?;
    let arrived = observations.iter().map(|row| row.arrived);
    let root = observations.iter().find(|row| row.is_root);
    let tags = sort::set(observations.iter().flat_map(|row| &row.tags));
    let id = &observations.first()?.trace_id;
    let costs = observations
        .iter()
        .filter_map(|row| row.cost.get("total")?.as_f64());
    // `sum` of no floats is a negative zero.
    let cost = costs.fold(0.0, |sum, cost| sum + cost);
    // Any span can set a field of the trace; the last one wins.
    let last = |field: fn(&Observation) -> Option<&str>| {
        observations
            .iter()
            .rev()
            .filter_map(field)
            .find(|value| !value.is_empty())
    };
    Some(json!({
        "id": id,
        "projectId": PROJECT_ID,
        "name": last(|row| row.trace_name.as_deref()),
        "timestamp": time::iso(start),
        "environment": last(|row| Some(&row.environment)),
        "tags": tags,
        "bookmarked": false,
        "release": last(|row| Some(&row.release)),
        "version": last(|row| Some(&row.version)),
        "userId": last(|row| Some(&row.user_id)),
        "sessionId": last(|row| Some(&row.session_id)),
        "public": observations.iter().any(|row| row.public),
        "input": content(last(|row| row.trace_input.as_deref()).or_else(|| root?.input.as_deref())),
        "output": content(last(|row| row.trace_output.as_deref()).or_else(|| root?.output.as_deref())),
        "metadata": trace_metadata(&observations, root),
        "createdAt": time::iso(arrived.clone().min()?),
        "updatedAt": time::iso(arrived.max()?),
        "externalId": null,
        "scores": [],
        "latency": double(time::seconds(start, end)),
        "observations": observations.iter().map(observation).collect::<Value>(),
        "htmlPath": format!("/project/{PROJECT_ID}/traces/{id}"),
        "totalCost": double(cost),
    }))
}

fn observation(row: &Observation) -> Value {
    let mut document = json!({
        "id": row.id,
        "traceId": row.trace_id,
        "startTime": time::iso(row.start),
        "endTime": time::iso(row.end),
        "projectId": PROJECT_ID,
        "parentObservationId": row.parent_id,
        "type": row.kind.name(),
        "environment": row.environment,
        "name": row.name,
        "level": row.level.name(),
        "statusMessage": non_empty(&row.status_message),
        "version": non_empty(&row.version),
        "createdAt": time::iso(row.arrived),
        "updatedAt": time::iso(row.arrived),
        "input": content(row.input.as_deref()),
        "output": content(row.output.as_deref()),
        "metadata": metadata(row, &row.metadata.observation),
        "model": non_empty(&row.model),
        "modelParameters": row.model_parameters,
        "completionStartTime": row.completion_start.map(time::iso),
        "promptId": null,
        "promptName": non_empty(&row.prompt_name),
        "promptVersion": row.prompt_version,
        "latency": double(row.latency()),
        "timeToFirstToken": row.time_to_first_token().map(double),
    });
    if let Value::Object(fields) = &mut document {
        fields.extend(usage(row));
    }
    document
}

/// The same counts and costs under each name that the interface has used.
fn usage(row: &Observation) -> Map<String, Value> {
    let zero = || Value::from(0);
    let input = sum_of(&row.usage, "input").unwrap_or_else(zero);
    let output = sum_of(&row.usage, "output").unwrap_or_else(zero);
    let total = row.usage.get("total").cloned().unwrap_or_else(zero);
    let fields = [
        ("usageDetails", json!(row.usage)),
        ("costDetails", json!(row.cost)),
        ("usagePricingTierId", Value::Null),
        ("usagePricingTierName", Value::Null),
        ("inputPrice", zero()),
        ("outputPrice", zero()),
        ("totalPrice", zero()),
        ("calculatedInputCost", json!(sum_of(&row.cost, "input"))),
        ("calculatedOutputCost", json!(sum_of(&row.cost, "output"))),
        (
            "calculatedTotalCost",
            row.cost.get("total").cloned().unwrap_or_else(zero),
        ),
        ("unit", "TOKENS".into()),
        ("promptTokens", input.clone()),
        ("completionTokens", output.clone()),
        ("totalTokens", total.clone()),
        ("modelId", Value::Null),
        (
            "usage",
            json!({"unit": "TOKENS", "input": input, "output": output, "total": total}),
        ),
    ];
    fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// The metadata that the user set on any span, and the attributes of the root.
fn trace_metadata(observations: &[Observation], root: Option<&Observation>) -> Value {
    let mut set = Attributes::new();
    for row in observations {
        set.extend(row.metadata.trace.clone());
    }
    root.or(observations.first())
        .map_or(Value::Null, |row| metadata(row, &set))
}

/// Metadata; attribute values are texts here, unlike in v2.
fn metadata(row: &Observation, set: &Attributes) -> Value {
    let texts = |values: &Attributes| -> Attributes {
        values
            .iter()
            .map(|(key, value)| (key.clone(), as_text(value)))
            .collect()
    };
    let mut scope = row.metadata.scope.clone();
    scope.insert(
        "attributes".to_owned(),
        Value::Object(texts(&row.metadata.scope_attributes)),
    );
    let mut metadata = set.clone();
    metadata.insert(
        "attributes".to_owned(),
        Value::Object(texts(&row.metadata.attributes)),
    );
    metadata.insert(
        "resourceAttributes".to_owned(),
        Value::Object(texts(&row.metadata.resource)),
    );
    metadata.insert("scope".to_owned(), Value::Object(scope));
    Value::Object(metadata)
}

fn as_text(value: &Value) -> Value {
    if value.is_string() {
        value.clone()
    } else {
        Value::String(value.to_string())
    }
}

/// Content that is JSON comes back parsed here, unlike in v2.
fn content(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| {
        serde_json::from_str(text).unwrap_or_else(|_| text.into())
    })
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
