//! Random numbers that are the same in every run.

use std::sync::Mutex;

/// A generator (splitmix64) that threads may share.
#[derive(Debug)]
pub struct Dice(Mutex<u64>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// One of these.
    pub fn pick<T: Copy>(&self, sides: &[T]) -> T {
        sides[self.below(sides.len())]
    }

    /// A place among `count`.
    pub fn below(&self, count: usize) -> usize {
        usize::try_from(self.roll(count as u64)).unwrap()
    }
}
