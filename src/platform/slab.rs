//! Things by a number, which JavaScript knows them by: a number costs nothing to hold and nothing to pass.

/// Things, each at the place of its number.
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// None.
    pub const fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }

    /// Adds a thing and gives its number.
    pub fn insert(&mut self, thing: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        match self.places.get_mut(number as usize) {
            Some(place) => *place = Some(thing),
            None => self.places.push(Some(thing)),
        }
        number
    }

    /// The thing of a number.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.places.get(number as usize)?.as_ref()
    }

    /// Takes a thing out for a while. Its number stays its own.
    pub fn take(&mut self, number: u32) -> Option<T> {
        self.places.get_mut(number as usize)?.take()
    }

    /// Puts back what was taken.
    pub fn put(&mut self, number: u32, thing: T) {
        if let Some(place) = self.places.get_mut(number as usize) {
            *place = Some(thing);
        }
    }

    /// Frees a number. What is still there is given back, to be dropped when nothing is borrowed any more.
    pub fn free(&mut self, number: u32) -> Option<T> {
        let thing = self.take(number);
        self.free.push(number);
        thing
    }
}
