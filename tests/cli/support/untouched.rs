//! A server that must not be contacted: it counts every connection, not only requests.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A port on loopback that counts its connections and closes each at once, so that no client waits.
#[derive(Debug)]
pub struct Untouched {
    address: String,
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Untouched {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
        Self {
            url: format!("http://{address}"),
            address,
            connections,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asserts that there was no connection.
    #[track_caller]
    pub fn assert_untouched(&self) {
        // Connections are taken in their order: once this one is closed, all earlier ones are counted.
        let mut own = TcpStream::connect(&self.address).unwrap();
        let _ = own.read(&mut [0]);
        let others = self.connections.fetch_sub(1, Ordering::SeqCst) - 1;
        assert_eq!(others, 0, "{} was connected to", self.url);
    }
}
