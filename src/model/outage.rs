//! Whether an endpoint is down: it cannot be reached, or its gateway has no server that takes the request.
//!
//! This only counts attempts. What a pool does about it is decided there.

/// The endpoint is down after this many attempts in a row, once it has answered any.
const IN_A_ROW: u64 = 50;

/// Counts the attempts of a pool that met an outage.
#[derive(Debug)]
pub struct OutageWatch {
    /// How many attempts, none of which was answered, show that the endpoint is down from the start.
    at_first: u64,
    has_answered: bool,
    /// Attempts in a row that met an outage.
    in_a_row: u64,
}

impl OutageWatch {
    pub fn new(at_first: u64) -> Self {
        Self {
            at_first,
            has_answered: false,
            in_a_row: 0,
        }
    }

    /// Notes an attempt that the endpoint answered, if only with a refusal.
    pub fn answered(&mut self) {
        self.has_answered = true;
        self.in_a_row = 0;
    }

    /// Notes an attempt that met an outage.
    pub fn failed(&mut self) {
        self.in_a_row += 1;
    }

    /// Whether the last attempt met an outage.
    pub fn is_suspected(&self) -> bool {
        self.in_a_row > 0
    }

    pub fn is_down(&self) -> bool {
        let most = if self.has_answered {
            IN_A_ROW
        } else {
            self.at_first
        };
        self.in_a_row >= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures_until_down(watch: &mut OutageWatch) -> u64 {
        let mut count = 0;
        while !watch.is_down() {
            watch.failed();
            count += 1;
        }
        count
    }

    #[test]
    fn an_endpoint_that_never_answered_is_down_sooner() {
        let mut watch = OutageWatch::new(8);
        assert_eq!(failures_until_down(&mut watch), 8);
        watch.answered();
        assert!(!watch.is_suspected());
        assert_eq!(failures_until_down(&mut watch), 50);
    }

    #[test]
    fn one_answer_begins_the_count_again() {
        let mut watch = OutageWatch::new(8);
        for _ in 0..7 {
            watch.failed();
        }
        watch.answered();
        for _ in 0..49 {
            watch.failed();
        }
        assert!(watch.is_suspected() && !watch.is_down());
        watch.answered();
        watch.failed();
        assert!(!watch.is_down());
    }
}
