//! A server that must not be spoken to: it sees not only requests, but every connection.

use std::io::ErrorKind;
use std::net::TcpListener;

/// A port on loopback whose connections are counted by the kernel's queue, and never accepted before the question.
#[derive(Debug)]
pub struct Untouched {
    listener: TcpListener,
    url: String,
}

impl Untouched {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asserts that nobody has connected.
    #[track_caller]
    pub fn assert_untouched(&self) {
        match self.listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("{} was connected to: {other:?}", self.url),
        }
    }
}
