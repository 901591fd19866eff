//! Bodies that are read, changed and written again.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Request {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_body_keeps_order_unknown_fields_and_numbers() {
    let text = r#"{"z":1.0,"messages":[{"role":"user","content":"é"}],"big":12345678901234567890123,"a":{"x":1e5}}"#;
    assert_eq!(parse(text).to_json(), text);
}

#[test]
fn a_field_is_replaced_in_place_and_added_last() {
    let mut request = parse(r#"{"model":"a","messages":[]}"#);
    request.set("model", "b");
    request.set("seed", &7);
    assert_eq!(request.to_json(), r#"{"model":"b","messages":[],"seed":7}"#);
}

#[test]
fn parameters_exclude_messages_tools_and_stream_options() {
    let request = parse(
        r#"{"model":"m","temperature":0.30,"messages":[],"stream":true,"stream_options":{},"tools":[],"tool_choice":"auto"}"#,
    );
    assert_eq!(
        request.parameters(&[("service_tier", "flex")]).as_deref(),
        Some(r#"{"temperature":0.30,"tool_choice":"auto","service_tier":"flex"}"#)
    );
    assert_eq!(
        parse(r#"{"model":"m","messages":[]}"#).parameters(&[]),
        None
    );
}

#[test]
fn a_system_text_replaces_the_old_one() {
    let mut request = parse(r#"{"messages":[{"role":"user","content":"q"}]}"#);
    request.set_system("one");
    request.set_system("two");
    let roles: Vec<Value> = request
        .messages()
        .iter()
        .map(|m| m["role"].clone())
        .collect();
    assert_eq!(roles, ["system", "user"]);
    assert_eq!(request.messages()[0]["content"], "two");
}

#[test]
fn parts_are_attached_to_the_last_user_message_only() {
    let part = RawValue::from_string(r#"{"type":"image_url"}"#.to_owned()).unwrap();
    let attached = |text: &str| {
        let mut request = parse(text);
        request.attach(std::slice::from_ref(&part)).unwrap();
        request.to_json()
    };
    assert_eq!(
        attached(
            r#"{"messages":[{"role":"user","content":"1"},{"z":1.0,"role":"user","content":"2","name":"n"},{"role":"assistant","content":"3"}],"seed":1.0}"#
        ),
        r#"{"messages":[{"role":"user","content":"1"},{"z":1.0,"role":"user","content":[{"type":"text","text":"2"},{"type":"image_url"}],"name":"n"},{"role":"assistant","content":"3"}],"seed":1.0}"#
    );
    assert_eq!(
        attached(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q","x":1.0}]}]}"#
        ),
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q","x":1.0},{"type":"image_url"}]}]}"#
    );
    let without = r#"{"messages":[{"role":"system","content":"s"}]}"#;
    assert_eq!(attached(without), without);
    assert!(!parse(without).has_user_message());
}

#[test]
fn messages_must_be_an_array() {
    assert!(parse("{}").validate().unwrap_err().contains("missing"));
    assert!(
        parse(r#"{"messages":"hi"}"#)
            .validate()
            .unwrap_err()
            .contains("a string")
    );
}

#[test]
fn the_last_user_text_joins_its_text_parts() {
    let request = parse(
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}]},{"role":"assistant","content":"c"}]}"#,
    );
    assert_eq!(request.last_user_text().as_deref(), Some("a\nb"));
}

#[test]
fn half_a_surrogate_pair_is_sent_unchanged_and_read_leniently() {
    let text = r#"{"messages":[{"role":"user","content":"cut \ud83d"}]}"#;
    let request = parse(text);
    assert_eq!(request.to_json(), text);
    assert_eq!(request.validate(), Ok(()));
    assert_eq!(request.last_user_text().as_deref(), Some("cut \u{fffd}"));
}

/// JSON values in the notations that other programs use.
fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "-0",
            "-0.0",
            "1.0",
            "1.10",
            "1E+2",
            "1e-7",
            "1e400",
            "12345678901234567890123",
            "0.1000000000000000055",
            r#""\u00e9""#,
            r#""é""#,
            r#""\/""#,
            r#""\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""""#,
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
    ];
    let space = || "[ \n\r\t]{0,2}";
    leaf.prop_recursive(4, 30, 5, move |inner| {
        let items = prop::collection::vec((space(), inner.clone(), space()), 0..5);
        let fields = prop::collection::vec((space(), "[a-c]{0,2}", space(), inner), 0..5);
        prop_oneof![
            items.prop_map(|items| {
                let items: Vec<String> = items
                    .into_iter()
                    .map(|(a, item, b)| a + &item + &b)
                    .collect();
                format!("[{}]", items.join(","))
            }),
            fields.prop_map(|fields| {
                let fields: Vec<String> = fields
                    .into_iter()
                    .map(|(a, key, b, value)| format!("{a}\"{key}\"{b}:{value}"))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_is_sent_as_it_was_written(
        fields in prop::collection::vec(("[ \n]{0,2}", any::<String>(), any_value()), 0..8)
    ) {
        let written: Vec<String> = fields
            .iter()
            .map(|(space, key, value)| format!("{space}{}{space}:{space}{value}{space}", Value::from(key.as_str())))
            .collect();
        let request = parse(&format!("{{{}}}", written.join(",")));
        // Repeated fields too.
        let sent: Vec<(String, String)> = parse(&request.to_json())
            .fields()
            .map(|(key, value)| (key.to_owned(), value.get().to_owned()))
            .collect();
        let given: Vec<(String, String)> =
            fields.into_iter().map(|(_, key, value)| (key, value)).collect();
        prop_assert_eq!(sent, given);
    }

    #[test]
    fn no_body_makes_it_panic(messages in any_value(), tools in any_value()) {
        let mut request = parse(&format!(r#"{{"messages":{messages},"tools":{tools}}}"#));
        let _ = request.validate();
        request.last_user_text();
        request.parameters(&[("a", "b")]);
        request.set_system("s");
        request.set_stream(true);
        request.set_stream(false);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), json in r#"[{}\[\]:,"a0\\\\. -]{0,40}"#) {
        for text in [text, json] {
            let _ = serde_json::from_str::<Request>(&text).map(|request| request.to_json());
        }
    }
}
