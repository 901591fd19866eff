//! The W3C baggage of the child: user and session travel in it.

use std::fmt::Write as _;

use crate::exec::identity::Identity;
use crate::trace::attributes::langfuse;

/// W3C baggage: what the child has, and the run's user and session.
pub fn baggage(identity: &Identity, inherited: Option<&str>) -> Option<String> {
    let own = [
        (langfuse::USER_ID, &identity.user),
        (langfuse::SESSION_ID, &identity.session),
    ];
    let own: Vec<(&str, &str)> = own
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_deref()?)))
        .collect();
    if own.is_empty() {
        return None;
    }
    let is_replaced = |member: &&str| {
        let key = member.split('=').next().unwrap_or_default().trim();
        own.iter().any(|(own, _)| *own == key)
    };
    let members = inherited.unwrap_or_default().split(',');
    let kept = members
        .filter(|member| !member.trim().is_empty() && !is_replaced(member))
        .map(|member| member.trim().to_owned());
    let added = own
        .iter()
        .map(|(key, value)| format!("{key}={}", percent_encoded(value)));
    Some(kept.chain(added).collect::<Vec<_>>().join(","))
}

/// A value as baggage has it: bytes outside of the token characters as `%XX`.
fn percent_encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(byte.into());
        } else {
            // Writing to a string never fails.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
