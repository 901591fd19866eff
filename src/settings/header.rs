//! Headers for the model endpoint, as an option or the settings file gives them.

use std::fmt::Display;

use http::header::{HeaderName, HeaderValue};

use super::file::is_secret_header;
use crate::failure::Failure;

/// Reads `NAME:VALUE`. The value is not repeated in messages, since it may be a key.
///
/// # Errors
/// If it has another form, or names a header that the request sets itself.
pub fn header_of(text: &str, origin: impl Display) -> Result<(HeaderName, HeaderValue), Failure> {
    const OURS: [&str; 4] = [
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
    ];
    let wrong = |what: String| {
        Err(Failure::usage(format!("{origin}: {what}")).hint("as in -H 'X-Title: my script'"))
    };
    let Some((name, value)) = text.split_once(':') else {
        return wrong("expected NAME:VALUE".to_owned());
    };
    let Ok(name) = name.trim().parse::<HeaderName>() else {
        return wrong("the text before the colon is not a header name".to_owned());
    };
    if OURS.contains(&name.as_str()) {
        return wrong(format!("{name} is set by the request itself"));
    }
    let Ok(mut value) = value.trim().parse::<HeaderValue>() else {
        return wrong(format!("the value of {name} is not a valid header value"));
    };
    value.set_sensitive(is_secret_header(name.as_str()));
    Ok((name, value))
}
