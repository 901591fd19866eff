//! Equal values, kept once: a run of a million items has few distinct ones.

use std::collections::HashMap;
use std::hash::Hash;

/// Distinct values, each with its place.
#[derive(Debug)]
pub struct Interner<T> {
    values: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Interner<T> {
    /// The place of the value, which is added if it is new.
    pub fn place(&mut self, value: T) -> u32 {
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        let place = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.places.insert(value, place);
        place
    }

    pub fn get(&self, place: u32) -> &T {
        &self.values[place as usize]
    }

    /// In the order in which they were added.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}
