//! The price table, in the form of a Langfuse 4.16.

use serde_json::{Value, json};

use crate::support::stand_in::Sandbox;

fn page(sandbox: &Sandbox, parameters: &str) -> Value {
    let answer = sandbox.get(&format!("/api/public/models{parameters}"));
    assert_eq!(answer.status, 200, "{parameters}: {answer:?}");
    answer.json()
}

fn names(page: &Value) -> Vec<&str> {
    let models = page["data"].as_array().unwrap().iter();
    models
        .map(|model| model["modelName"].as_str().unwrap())
        .collect()
}

const ALL: [&str; 7] = [
    "langspan-stand-in",
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-5",
    "gpt-5.4-mini",
    "gemini-2.5-pro",
    "text-embedding-3-small",
];

#[test]
fn models_have_prices_the_projects_own_first() {
    for version in ["v4", "v3"] {
        let sandbox = Sandbox::start_with(&["--langfuse", version]);
        let all = page(&sandbox, "");
        assert_eq!(names(&all), ALL);
        assert_eq!(
            all["meta"],
            json!({"page": 1, "limit": 50, "totalItems": 7, "totalPages": 1})
        );
        let [own, mini, .., gemini, embedding] = &all["data"].as_array().unwrap()[..] else {
            panic!("{all}");
        };
        assert_eq!(own["isLangfuseManaged"], false);
        assert_eq!(mini["isLangfuseManaged"], true);
        assert_eq!(mini["matchPattern"], "(?i)^(openai/)?(gpt-4o-mini)$");
        assert_eq!(mini["prices"]["input"], json!({"price": 1.5e-07}));
        let tiers = &mini["pricingTiers"];
        assert_eq!(tiers[0]["isDefault"], true);
        assert_eq!(tiers[0]["prices"]["output"], 6e-07);
        assert_eq!(
            tiers[1]["conditions"][0],
            json!({"key": "service_tier", "source": "model_parameters", "values": ["fast", "priority"], "operator": "in"})
        );
        assert_eq!(
            gemini["pricingTiers"][1]["conditions"][0]["usageDetailPattern"],
            "(input|prompt|cached)"
        );
        assert_eq!(embedding["prices"], json!({"total": {"price": 2e-08}}));
    }
}

#[test]
fn models_come_in_pages() {
    let sandbox = Sandbox::start();
    let mut found = Vec::new();
    for number in 1..=3 {
        let page = page(&sandbox, &format!("?limit=3&page={number}"));
        found.extend(names(&page).into_iter().map(str::to_owned));
        assert_eq!(
            page["meta"],
            json!({"page": number, "limit": 3, "totalItems": 7, "totalPages": 3})
        );
    }
    assert_eq!(found, ALL);
    assert_eq!(page(&sandbox, "?page=9")["data"], json!([]));
    for wrong in ["limit=0", "limit=101", "page=0", "page=x"] {
        let answer = sandbox.get(&format!("/api/public/models?{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}");
    }
    let keyless = sandbox.send("GET", "/api/public/models", &[], Vec::new());
    assert_eq!(keyless.status, 401);
}
