//! The table: each fault with the words, the attempts and the exit code that follow from it.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::support::certificates::Flaw;
use crate::support::harness::Reply;

/// A row of the table.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    /// What happens, as the topic says it.
    pub(super) when: &'static str,
    pub(super) place: Place,
    /// What the server does with its first, second … export request.
    pub(super) does: fn(usize) -> Does,
    /// Part of the line with the cause.
    pub(super) says: &'static str,
    /// Part of the line with the remedy. `{url}` is where the spans were sent, `{origin}` its server.
    pub(super) remedy: &'static str,
    pub(super) again: Again,
    /// Of chat, replay and resend alike.
    pub(super) exit: i32,
    /// The seconds of `--export-timeout`.
    pub(super) budget: &'static str,
}

/// Where the spans are sent.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Server,
    /// A name that no name server knows.
    Unknown,
    /// A port without a listener.
    Closed,
    /// A port that drops all packets.
    Silent,
    /// A server with a trusted authority and a flawed certificate.
    Flawed(Flaw),
    /// A server with an authority that is not trusted.
    Untrusted,
}

/// What a server does with an export.
pub(super) enum Does {
    /// Takes it and says so.
    Take,
    /// Takes it, and does this.
    TakeBut(Reply),
    /// Does not take it.
    Not(Reply),
}
pub(super) use Does::{Not, Take, TakeBut};

/// Whether the request is sent again in the same call.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Again {
    No,
    /// Once, here, because the server then asks for more time than there is.
    InTime,
    /// Langfuse is asked first; absence proves nothing before 3 s have passed.
    AfterAsking,
    /// The same, and Langfuse does not have it.
    IfAbsent,
    /// As often as its time allows, to a server that sees nothing of it.
    Unseen,
    InPieces,
}

impl Again {
    /// How many exports the server sees.
    pub(super) fn exports(self) -> RangeInclusive<usize> {
        match self {
            Self::No | Self::AfterAsking => 1..=1,
            Self::InTime | Self::IfAbsent => 2..=2,
            Self::Unseen => 0..=0,
            // The trace, then each of its spans, then each of them with less and less content.
            Self::InPieces => 3..=30,
        }
    }

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::InTime | Self::Unseen => "yes",
            Self::AfterAsking | Self::IfAbsent => "if Langfuse does not have it",
            Self::InPieces => "in pieces",
        }
    }
}

/// What most rows share: a server that refuses for good.
pub(super) const REFUSED: Fault = Fault {
    when: "",
    place: Place::Server,
    does: |_| Take,
    says: "",
    remedy: "",
    again: Again::No,
    exit: 5,
    budget: "30",
};

/// A server that fails now and may heal.
pub(super) const BUSY: Fault = Fault {
    remedy: "the server is busy or broken: try again later",
    again: Again::InTime,
    ..REFUSED
};

/// A connection that is never made. It is tried until the time is up.
pub(super) const UNREACHED: Fault = Fault {
    remedy: "check that {origin} is right and reachable from here",
    again: Again::Unseen,
    budget: "2",
    ..REFUSED
};

/// A certificate that is not trusted.
pub(super) const UNTRUSTED: Fault = Fault {
    again: Again::Unseen,
    budget: "2",
    ..REFUSED
};

/// A request that left, and no answer came.
pub(super) const UNANSWERED: Fault = Fault {
    remedy: "the server took the request and gave no answer: try again later",
    again: Again::AfterAsking,
    budget: "2.5",
    ..REFUSED
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        when: "the server finds the request malformed",
        does: |_| {
            not_json(
                400,
                &json!({"error": "Failed to parse OTel Protobuf Trace"}),
            )
        },
        says: "400 Bad Request: Failed to parse OTel Protobuf Trace",
        remedy: "see the server's message",
        ..REFUSED
    },
    Fault {
        when: "the keys are wrong, or of another region",
        does: |_| not_json(401, &json!({"message": INVALID})),
        says: "401 Unauthorized: Invalid credentials.",
        remedy: "check that LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are keys of {origin}",
        ..REFUSED
    },
    Fault {
        when: "the project's plan is used up",
        does: |_| {
            let message =
                "Ingestion suspended: Usage threshold exceeded. Please upgrade your plan.";
            not_json(403, &json!({"message": message, "error": "ForbiddenError"}))
        },
        says: "403 Forbidden: Ingestion suspended: Usage threshold exceeded.",
        remedy: "upgrade it, or wait for the next period",
        ..REFUSED
    },
    Fault {
        when: "the key is an organization's or a bearer token",
        does: |_| {
            let message = "Access denied - insufficient permissions for this endpoint";
            not_json(403, &json!({"message": message}))
        },
        says: "403 Forbidden: Access denied - insufficient permissions",
        remedy: "use a project's key pair",
        ..REFUSED
    },
    Fault {
        when: "the path is wrong",
        does: |_| Not(html(404)),
        says: "404 Not Found",
        remedy: "check the URL: spans were sent to {url}",
        ..REFUSED
    },
    Fault {
        when: "the path takes no spans",
        does: |_| {
            not_json(
                405,
                &json!({"message": "Method not allowed", "error": "MethodNotAllowedError"}),
            )
        },
        says: "405 Method Not Allowed: Method not allowed",
        remedy: "check the URL: spans were sent to {url}",
        ..REFUSED
    },
    Fault {
        when: "the server waited too long for the request",
        does: |count| heals_too_late(408, count),
        again: Again::IfAbsent,
        says: "408 Request Timeout",
        ..BUSY
    },
    Fault {
        when: "no piece of the trace is small enough for the server",
        does: |_| Not(html(413)),
        says: "413 Payload Too Large",
        remedy: "raise its limit",
        again: Again::InPieces,
        ..REFUSED
    },
    Fault {
        when: "the server asks for a pause that the time allows",
        does: |count| match count {
            0 => Not(wait(429, "1")),
            _ => Take,
        },
        exit: 0,
        ..BUSY
    },
    Fault {
        when: "the server asks for a longer pause",
        does: |_| Not(wait(429, "3600")),
        says: "429 Too Many Requests: Rate limit exceeded",
        again: Again::No,
        ..BUSY
    },
    Fault {
        when: "the server is broken",
        does: |count| heals_too_late(500, count),
        again: Again::IfAbsent,
        says: "500 Internal Server Error",
        ..BUSY
    },
    Fault {
        when: "the proxy in front of the server does not reach it",
        does: |count| heals_too_late(502, count),
        again: Again::IfAbsent,
        says: "502 Bad Gateway",
        ..BUSY
    },
    Fault {
        when: "the server is down for a while",
        does: |count| heals_too_late(503, count),
        says: "503 Service Unavailable",
        ..BUSY
    },
    Fault {
        when: "the proxy in front of the server gets no answer from it",
        does: |count| heals_too_late(504, count),
        again: Again::IfAbsent,
        says: "504 Gateway Timeout",
        ..BUSY
    },
    Fault {
        when: "the proxy gives up after the server took the spans",
        does: |_| TakeBut(html(504)),
        again: Again::AfterAsking,
        exit: 0,
        ..BUSY
    },
    Fault {
        when: "a server fails once",
        does: |count| match count {
            0 => Not(html(502)),
            _ => Take,
        },
        again: Again::IfAbsent,
        exit: 0,
        ..BUSY
    },
    Fault {
        when: "a login page answers",
        does: |_| Not(html(200)),
        says: "answered 200 with an HTML page",
        remedy: "check the URL, and that there is no proxy or login page before it",
        ..REFUSED
    },
    Fault {
        when: "the server sends the request elsewhere",
        does: |_| {
            let location = ("location", "https://elsewhere.example/".to_owned());
            Not(Reply::With(308, vec![location], String::new()))
        },
        says: "308 Permanent Redirect to https://elsewhere.example/",
        remedy: "redirects are not followed: set the URL to https://elsewhere.example/",
        ..REFUSED
    },
    Fault {
        when: "the server takes the request and rejects its spans",
        does: |_| {
            let partial = json!({"rejectedSpans": "2", "errorMessage": "the spans are too old"});
            not_json(200, &json!({"partialSuccess": partial}))
        },
        says: "2 span(s) were rejected: the spans are too old",
        remedy: "see the server's message",
        ..REFUSED
    },
    Fault {
        when: "no name server knows the host",
        place: Place::Unknown,
        says: "no connection: ",
        ..UNREACHED
    },
    Fault {
        when: "nothing listens there",
        place: Place::Closed,
        says: "no connection: Connection refused",
        ..UNREACHED
    },
    Fault {
        when: "a firewall swallows every packet",
        place: Place::Silent,
        says: "no connection: ",
        ..UNREACHED
    },
    Fault {
        when: "the server's certificate has expired",
        place: Place::Flawed(Flaw::Expired),
        says: "certificate expired on 2021-01-01",
        remedy: "renew the server's certificate, or correct this machine's clock",
        ..UNTRUSTED
    },
    Fault {
        when: "the certificate is for another host",
        place: Place::Flawed(Flaw::OtherHost),
        says: "certificate not valid for name \"localhost\"",
        remedy: "use the name that it is for",
        ..UNTRUSTED
    },
    Fault {
        when: "the certificate's authority is not known",
        place: Place::Untrusted,
        says: "UnknownIssuer",
        remedy: "trust the server's certificate authority with --ca-file FILE or SSL_CERT_FILE",
        ..UNTRUSTED
    },
    Fault {
        when: "the connection is closed without an answer",
        does: |_| Not(Reply::Close),
        says: "connection closed",
        ..UNANSWERED
    },
    Fault {
        when: "the connection is reset",
        does: |_| Not(Reply::Reset),
        says: "Connection reset",
        ..UNANSWERED
    },
    Fault {
        when: "no answer comes in time",
        does: |_| Not(Reply::Hang),
        says: "gave no answer in time",
        ..UNANSWERED
    },
    Fault {
        when: "the answer breaks off in the middle",
        does: |_| TakeBut(Reply::Bytes(CUT.to_vec())),
        says: "broke off: ",
        ..UNANSWERED
    },
    Fault {
        when: "the spans arrive, and the answer does not",
        does: |_| TakeBut(Reply::Close),
        exit: 0,
        budget: "30",
        ..UNANSWERED
    },
];

pub(super) const INVALID: &str =
    "Invalid credentials. Confirm that you've configured the correct host.";
pub(super) const CUT: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"na";

pub(super) fn not_json(status: u16, body: &Value) -> Does {
    Not(Reply::json(status, body))
}

pub(super) fn html(status: u16) -> Reply {
    let page = "<!doctype html><html><body>A page</body></html>";
    Reply::Answer(status, "text/html", page.to_owned())
}

pub(super) fn wait(status: u16, seconds: &str) -> Reply {
    let body = json!({"message": "Rate limit exceeded"}).to_string();
    Reply::With(status, vec![("retry-after", seconds.to_owned())], body)
}

/// The second answer ends it: more time is asked for than there is, so that no test waits for the time to run out.
pub(super) fn heals_too_late(status: u16, count: usize) -> Does {
    match count {
        0 => Not(html(status)),
        _ => Not(wait(status, "3600")),
    }
}
