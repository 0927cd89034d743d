//! Values by number, so that JavaScript can refer to them: a number costs nothing to hold and nothing to pass.

/// A list of values in which the number of a value is its index.
pub struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub const fn new() -> Slab<T> {
        Slab { values: Vec::new(), free: Vec::new() }
    }

    /// Adds a value and returns its number.
    pub fn insert(&mut self, value: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| u32::try_from(self.values.len()).unwrap_or(u32::MAX));
        match self.values.get_mut(number as usize) {
            Some(slot) => *slot = Some(value),
            None => self.values.push(Some(value)),
        }
        number
    }

    pub fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)?.as_ref()
    }

    /// Takes a value out temporarily. Its number stays reserved.
    pub fn take(&mut self, number: u32) -> Option<T> {
        self.values.get_mut(number as usize)?.take()
    }

    /// Puts a taken value back.
    pub fn put(&mut self, number: u32, value: T) {
        if let Some(slot) = self.values.get_mut(number as usize) {
            *slot = Some(value);
        }
    }

    /// Frees a number. Returns the value that is still there, so that the caller can drop it when nothing is borrowed
    /// any more.
    pub fn free(&mut self, number: u32) -> Option<T> {
        let value = self.take(number);
        self.free.push(number);
        value
    }
}
