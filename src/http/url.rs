//! URLs that requests are sent to.

use std::net::IpAddr;

use reqwest::Url;

/// Parses a URL for HTTP requests.
///
/// # Errors
/// What is wrong with it, in one line that does not show a key.
pub fn parse_http_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Ok(_) | Err(_) if !text.contains("://") => {
            // Not quoted: a key may be here by mistake.
            return Err("it is not a URL: expected https:// or http://".to_owned());
        }
        Ok(url) => return Err(format!("`{}` is not http or https", url.scheme())),
        // Not quoted either.
        Err(error) => return Err(format!("it is not a URL: {error}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL has credentials in it: put keys into the environment".to_owned());
    }
    Ok(url)
}

/// The root of a URL's server.
pub fn origin(url: &Url) -> Url {
    let mut origin = url.clone();
    origin.set_path("/");
    origin.set_query(None);
    origin
}

/// Whether a URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
