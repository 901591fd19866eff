//! Counts the requests under way, so that their end can be waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the requests under way.
#[derive(Clone, Debug, Default)]
pub struct Busy(Arc<BusyCount>);

#[derive(Debug, Default)]
struct BusyCount {
    requests: AtomicUsize,
    is_idle: Notify,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub struct Underway(Busy);

impl Busy {
    /// Counts one more request.
    pub fn begin(&self) -> Underway {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Underway(self.clone())
    }

    pub fn is_idle(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed) == 0
    }

    /// Waits until there is none.
    pub async fn idle(&self) {
        while !self.is_idle() {
            self.0.is_idle.notified().await;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if self.0.0.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.0.is_idle.notify_one();
        }
    }
}
