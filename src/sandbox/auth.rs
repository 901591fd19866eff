//! Authentication for the Langfuse interface, with the refusals of a Langfuse 4.16.
//!
//! Only the `Authorization` header counts. The text of each refusal is here too, because clients tell the causes apart
//! by it.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::request::Parts;
use http::{StatusCode, header};
use serde_json::json;

use super::response::json_response;
use super::{PUBLIC_KEY, SECRET_KEY};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Proof, as a handler's argument, that the request carried the project's key.
#[derive(Debug)]
pub struct Authorized;

/// The same for the prompts API, whose refusals have a name beside their message.
#[derive(Debug)]
pub struct AuthorizedForPrompts;

/// Proof that the request may write scores: for that, the public key alone will do.
#[derive(Debug)]
pub struct AuthorizedToScore;

#[derive(Debug, PartialEq, Eq)]
pub struct AuthError {
    status: StatusCode,
    message: String,
    /// The name of the refusal, where the interface gives it one.
    name: Option<&'static str>,
}

impl<S: Sync> FromRequestParts<S> for Authorized {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthError> {
        authorize(credentials(parts).as_deref())
    }
}

impl<S: Sync> FromRequestParts<S> for AuthorizedForPrompts {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthError> {
        let authorized = authorize(credentials(parts).as_deref());
        authorized.map(|_| Self).map_err(|mut error| {
            error.name = Some("UnauthorizedError");
            if error.status == StatusCode::FORBIDDEN {
                error.name = Some("ForbiddenError");
                error.message = format!(
                    "Access denied - need to use basic auth with secret key to {} prompts",
                    parts.method
                );
            }
            error
        })
    }
}

impl<S: Sync> FromRequestParts<S> for AuthorizedToScore {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthError> {
        match authorize(credentials(parts).as_deref()) {
            Err(error) if error.status != StatusCode::FORBIDDEN => Err(error),
            _ => Ok(Self),
        }
    }
}

/// The value of the `Authorization` header.
fn credentials(parts: &Parts) -> Option<Cow<'_, str>> {
    let value = parts.headers.get(header::AUTHORIZATION)?;
    Some(String::from_utf8_lossy(value.as_bytes()))
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        let body = match self.name {
            Some(name) => json!({"message": self.message, "error": name}),
            None => json!({"message": self.message}),
        };
        json_response(self.status, &body)
    }
}

fn authorize(header: Option<&str>) -> Result<Authorized, AuthError> {
    let header = header.ok_or_else(|| unauthorized("No authorization header"))?;
    if let Some(credentials) = header.strip_prefix("Basic ") {
        basic(credentials)
    } else if let Some(key) = header.strip_prefix("Bearer ") {
        Err(bearer(key))
    } else {
        Err(unauthorized("Invalid authorization header"))
    }
}

/// The secret key decides; the public key is not checked, as in Langfuse.
fn basic(credentials: &str) -> Result<Authorized, AuthError> {
    let decoded = BASE64
        .decode(credentials.trim())
        .map_err(|_| wrong("Invalid character"))?;
    let decoded = String::from_utf8_lossy(&decoded);
    let mut halves = decoded.split(':');
    let _public = halves.next();
    match halves.next() {
        Some(SECRET_KEY) => Ok(Authorized),
        Some(secret) if !secret.is_empty() => Err(wrong("Invalid credentials")),
        _ => Err(wrong("Invalid authorization header")),
    }
}

/// A public key alone may only write scores.
fn bearer(key: &str) -> AuthError {
    if key == PUBLIC_KEY {
        let message = "Access denied - insufficient permissions for this endpoint".to_owned();
        return AuthError {
            status: StatusCode::FORBIDDEN,
            message,
            name: None,
        };
    }
    wrong("Invalid public key")
}

fn wrong(cause: &str) -> AuthError {
    unauthorized(&format!(
        "{cause}. Confirm that you've configured the correct host."
    ))
}

fn unauthorized(message: &str) -> AuthError {
    AuthError {
        status: StatusCode::UNAUTHORIZED,
        message: message.to_owned(),
        name: None,
    }
}
