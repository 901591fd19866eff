//! Fuzzes the request reader: a request is sent as it was written, and no bytes make the reader panic.
#![no_main]
#![expect(dead_code, unused_imports, reason = "only a part of the program is compiled")]

#[path = "../../src/console.rs"]
mod console;
#[path = "../../src/failure.rs"]
mod failure;
#[path = "../../src/http/mod.rs"]
mod http;
#[path = "../../src/json/mod.rs"]
mod json;
#[path = "../../src/model/mod.rs"]
mod model;
#[path = "../../src/secret.rs"]
mod secret;
#[path = "../../src/stdio.rs"]
mod stdio;

use libfuzzer_sys::fuzz_target;

use model::Request;

fn fields(request: &Request) -> Vec<(String, String)> {
    let fields = request.fields();
    fields
        .map(|(key, value)| (key.to_owned(), value.get().to_owned()))
        .collect()
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut request) = serde_json::from_slice::<Request>(bytes) else {
        return;
    };
    let again: Request = serde_json::from_str(&request.to_json()).expect("a request is JSON");
    assert_eq!(fields(&request), fields(&again));
    if request.validate().is_ok() {
        request.last_user_text();
        request.parameters(&[("service_tier", "default")]);
        request.set_system("system");
        request.set_stream(true);
        serde_json::from_str::<Request>(&request.to_json()).expect("a request is JSON");
    }
});
