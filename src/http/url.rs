//! URLs that requests are sent to.

use std::net::IpAddr;

use reqwest::Url;

/// Reads a URL that HTTP requests can be sent to.
///
/// # Errors
/// One line that says what is wrong with it; a key in it is not shown.
pub fn parse_http_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Ok(_) | Err(_) if !text.contains("://") => {
            // Not quoted: what stands here by mistake may be a key.
            return Err("it is no URL: it must begin with https:// or http://".to_owned());
        }
        Ok(url) => return Err(format!("`{}` is no http or https URL", url.scheme())),
        // Not quoted either: what is no URL may hold a key all the same.
        Err(error) => return Err(format!("it is no URL: {error}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds credentials: keys belong in the environment".to_owned());
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
