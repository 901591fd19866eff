//! The endpoint behind the proxy: its URLs, and which headers stay on one side.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use reqwest::Url;

/// A model endpoint.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(super) base: Url,
}

impl Upstream {
    /// The endpoint at a URL; `None` if it is not one.
    pub fn parse(url: &str) -> Option<Self> {
        let base = crate::http::url::parse_http_url(url).ok()?;
        Some(Self { base })
    }

    pub(super) fn url(&self, rest: &str, query: Option<&str>) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}{rest}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        if query.is_some() {
            url.set_query(query);
        }
        url
    }
}

/// The headers that concern one connection.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Removes the headers that concern one connection.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed = headers.get_all(CONNECTION).iter();
    let listed = listed
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let listed: Vec<HeaderName> = listed.filter_map(|name| name.trim().parse().ok()).collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn paths_go_below_the_endpoint() {
        let upstream = Upstream::parse("http://models/base/v1/").unwrap();
        assert_eq!(
            upstream.url("/chat/completions", Some("a=1")).as_str(),
            "http://models/base/v1/chat/completions?a=1"
        );
    }

    #[test]
    fn headers_of_one_connection_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-own, close"),
            ("x-own", "1"),
            ("te", "x"),
            ("authorization", "Bearer x"),
        ] {
            headers.insert(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_static(value),
            );
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["authorization"]
        );
    }
}
