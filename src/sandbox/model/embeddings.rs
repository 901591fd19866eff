//! Embeddings: vectors of length 1 that depend on the text alone and say nothing about its meaning.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::stand_in::tokens;
use super::{InvalidRequest, ModelAnswer, named_model, parse, positive};

const DIMENSIONS: u64 = 64;
const MOST_DIMENSIONS: u64 = 4096;
const MOST_INPUTS: usize = 2048;

pub fn answer(_: &HeaderMap, body: &[u8]) -> Result<ModelAnswer, Value> {
    let document = read_and_answer(body).map_err(|invalid| invalid.openai())?;
    Ok(ModelAnswer::Document(document))
}

fn read_and_answer(body: &[u8]) -> Result<Value, InvalidRequest> {
    let request = parse(body)?;
    let model = named_model(&request)?;
    let inputs = inputs(&request["input"])?;
    let dimensions = positive(&request, "dimensions")?.unwrap_or(DIMENSIONS);
    if dimensions > MOST_DIMENSIONS {
        let rule = format!("expected at most {MOST_DIMENSIONS}");
        return Err(InvalidRequest::value("dimensions", rule));
    }
    let write = match request["encoding_format"].as_str() {
        None | Some("float") => floats,
        Some("base64") => base64,
        Some(_) => {
            let rule = "expected 'float' or 'base64'";
            return Err(InvalidRequest::value("encoding_format", rule));
        }
    };
    let data: Value = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let embedding = write(&vector(&input.to_string(), dimensions));
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens: usize = inputs.iter().map(|input| input_tokens(input)).sum();
    Ok(json!({
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
}

/// The inputs: a text, a list of tokens, or a list of either.
fn inputs(input: &Value) -> Result<Vec<&Value>, InvalidRequest> {
    let inputs = match input {
        Value::Null => return Err(InvalidRequest::Missing("input")),
        Value::Array(items) if !is_token_list(input) => items.iter().collect(),
        one => vec![one],
    };
    let is_input =
        |input: &Value| is_token_list(input) || input.as_str().is_some_and(|text| !text.is_empty());
    if inputs.is_empty()
        || inputs.len() > MOST_INPUTS
        || !inputs.iter().all(|input| is_input(input))
    {
        let rule =
            format!("expected 1 to {MOST_INPUTS} texts or lists of tokens, none of them empty");
        return Err(InvalidRequest::value("input", rule));
    }
    Ok(inputs)
}

fn is_token_list(input: &Value) -> bool {
    input
        .as_array()
        .is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_u64))
}

fn input_tokens(input: &Value) -> usize {
    match input {
        Value::Array(items) => items.len(),
        text => tokens(text.as_str().unwrap_or_default()),
    }
}

fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    let raw: Vec<f32> = (0..dimensions.div_ceil(8))
        .flat_map(|block| {
            let digest = Sha256::digest(format!("{block} {text}"));
            let numbers: Vec<f32> = digest
                .chunks_exact(4)
                .map(|bytes| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) + 0.5)
                .collect();
            numbers
        })
        .take(usize::try_from(dimensions).unwrap_or(usize::MAX))
        .collect();
    let length = raw.iter().map(|number| number * number).sum::<f32>().sqrt();
    raw.iter().map(|number| number / length).collect()
}

fn floats(vector: &[f32]) -> Value {
    json!(vector)
}

/// As many OpenAI clients ask for it: the bytes of the numbers, little-endian.
fn base64(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    STANDARD.encode(bytes).into()
}
