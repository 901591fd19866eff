//! `batch --dataset` and `batch FILE --experiment`: the items, the experiment in Langfuse, its scores.

// The items of a dataset, and what becomes of them.
mod dataset;
// Experiments of local lines.
mod local;
// What is refused before the first call.
mod refused;
// Runs that go on after an end.
mod resumed;
// The scores of an experiment as a whole.
mod scored;
// Runs in shards, and their merge.
mod shards;

use std::fs;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan};
use crate::support::schema::assert_described;
use crate::support::stand_in::Sandbox;

const JSON: (&str, &str) = ("content-type", "application/json");
/// Before all spans.
const FROM: &str = "fromStartTime=2020-01-01T00:00:00Z";

/// A sandbox, and the home of its calls.
struct Lab {
    sandbox: Arc<Sandbox>,
    home: Langspan,
}

impl Lab {
    fn new() -> Self {
        Self {
            sandbox: Arc::new(Sandbox::start()),
            home: Langspan::new(&[]),
        }
    }

    /// With a dataset `questions` of this many items `q1`, `q2` …, each a question.
    fn with_items(count: usize) -> Self {
        let lab = Self::new();
        lab.dataset("questions");
        for n in 1..=count {
            lab.item(
                "questions",
                &format!("q{n}"),
                json!(format!("question {n}")),
                json!(format!("{n}")),
            );
        }
        lab
    }

    /// Creates a dataset; returns its id.
    fn dataset(&self, name: &str) -> String {
        let answer = self.post("/api/public/v2/datasets", &json!({"name": name}));
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Creates or changes an item.
    fn item(&self, dataset: &str, id: &str, input: impl Into<Value>, expected: impl Into<Value>) {
        let (input, expected) = (input.into(), expected.into());
        let body = json!({
            "datasetName": dataset, "id": id, "input": input, "expectedOutput": expected, "metadata": {"of": id, "n": 1},
        });
        self.post("/api/public/dataset-items", &body);
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.sandbox.post(path, &[JSON], body.to_string());
        assert!(answer.status < 300, "{answer:?}");
        answer.json()
    }

    fn call(&self, arguments: &[&str]) -> Langspan {
        Langspan::new(arguments)
            .at(&self.sandbox)
            .beside(&self.home)
    }

    /// Runs `batch` with these arguments.
    fn batch(&self, arguments: &[&str]) -> Ended {
        self.call(&[&["batch"], arguments].concat()).run()
    }

    /// What the server says of the experiments of this name.
    fn experiments(&self, name: &str) -> Vec<Value> {
        let filter = json!([{"type": "stringOptions", "column": "name", "operator": "any of", "value": [name]}]);
        let filter = filter.to_string();
        let filter = utf8_percent_encode(&filter, NON_ALPHANUMERIC);
        let path =
            format!("/api/public/experiments?{FROM}&fields=core,metadata,scores&filter={filter}");
        self.list(&path)
    }

    /// The only experiment of this name.
    #[track_caller]
    fn experiment(&self, name: &str) -> Value {
        let found = self.experiments(name);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.into_iter().next().unwrap()
    }

    /// The items of an experiment, by the ids of their items.
    fn items(&self, experiment: &Value) -> Vec<Value> {
        let id = experiment["id"].as_str().unwrap();
        let fields = "core,dataset,io,itemMetadata,experimentMetadata,scores";
        let mut items = self.list(&format!(
            "/api/public/experiment-items?{FROM}&experimentId={id}&fields={fields}&limit=100"
        ));
        items.sort_by_key(|item| item["experimentItemId"].to_string());
        items
    }

    fn item_ids(&self, experiment: &Value) -> Vec<String> {
        let items = self.items(experiment).into_iter();
        items
            .map(|item| item["experimentItemId"].as_str().unwrap().to_owned())
            .collect()
    }

    fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.sandbox.get(path);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["data"].as_array().unwrap().clone()
    }

    /// The lines of a file of the home, each of which fits its schema.
    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.home.home().join(name)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .inspect(|line| assert_described(line, "output_line"))
            .collect()
    }

    fn summary(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.home.home().join(name)).unwrap();
        let summary = serde_json::from_str(&text).unwrap();
        assert_described(&summary, "summary");
        summary
    }

    fn scores(&self, experiment: &Value) -> Vec<Value> {
        let scores = experiment["scores"].as_array().unwrap().iter();
        let mut scores: Vec<Value> = scores
            .map(|score| json!([score["name"], score["dataType"], score["value"].as_f64()]))
            .collect();
        scores.sort_by_key(Value::to_string);
        let _ = self;
        scores
    }
}
