//! Things by name, in the order of their names: a sorted list, searched by halving.
//!
//! With the methods of a `BTreeMap`, whose code is 4 KB of the Wasm for each type of value that is put into one. For what is
//! looked up often and rarely added: an addition moves what stands behind it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Things by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<T>(Vec<(String, T)>);

impl<T> Table<T> {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }

    /// What has this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.get(self.place(name).ok()?).map(|(_, thing)| thing)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        let place = self.place(name).ok()?;
        self.0.get_mut(place).map(|(_, thing)| thing)
    }

    /// Whether something has this name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Gives something a name, in the place of what had it.
    #[inline(never)]
    pub fn insert(&mut self, name: String, thing: T) {
        match self.place(&name) {
            Ok(place) => {
                if let Some((_, known)) = self.0.get_mut(place) {
                    *known = thing;
                }
            }
            Err(place) => self.0.insert(place, (name, thing)),
        }
    }

    /// What has this name, made if nothing has.
    pub fn get_or_make(&mut self, name: &str, make: impl FnOnce() -> T) -> &mut T {
        let place = self.place(name).unwrap_or_else(|place| {
            self.0.insert(place, (name.to_owned(), make()));
            place
        });
        #[expect(clippy::indexing_slicing, reason = "it was found, or has just been added")]
        &mut self.0[place].1
    }

    /// Takes out what has this name.
    pub fn remove(&mut self, name: &str) -> Option<T> {
        let place = self.place(name).ok()?;
        Some(self.0.remove(place).1)
    }

    /// Keeps only what is to be kept.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.0.retain(|(_, thing)| keep(thing));
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.0.iter().map(|(name, thing)| (name, thing))
    }

    /// All names.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }

    /// All things, by name.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, thing)| thing)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table(Vec::new())
    }
}

/// Of two of one name, the later one stays.
impl<T> FromIterator<(String, T)> for Table<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(things: I) -> Table<T> {
        let mut table = Table::default();
        for (name, thing) in things {
            table.insert(name, thing);
        }
        table
    }
}

impl<'t, T> IntoIterator for &'t Table<T> {
    type Item = (&'t String, &'t T);
    type IntoIter = std::iter::Map<std::slice::Iter<'t, (String, T)>, fn(&'t (String, T)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, thing)| (name, thing))
    }
}

impl<T: Serialize> Serialize for Table<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Table<T>, D::Error> {
        struct Things<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Things<T> {
            type Value = Table<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<T>, A::Error> {
                let mut table = Table::default();
                while let Some((name, thing)) = map.next_entry()? {
                    table.insert(name, thing);
                }
                Ok(table)
            }
        }
        deserializer.deserialize_map(Things(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_map_in_the_order_of_names(steps: Vec<(bool, u8, u32)>) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for (insert, name, thing) in steps {
                let name = (name % 16).to_string();
                if insert {
                    table.insert(name.clone(), thing);
                    map.insert(name, thing);
                } else {
                    prop_assert_eq!(table.remove(&name), map.remove(&name));
                }
                prop_assert!(table.iter().eq(map.iter()) && table.keys().eq(map.keys()));
                prop_assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
            }
            for name in (0..16).map(|name: u8| name.to_string()) {
                prop_assert_eq!(table.get(&name), map.get(&name));
                prop_assert_eq!(table.get_mut(&name), map.get_mut(&name));
                prop_assert_eq!(table.contains_key(&name), map.contains_key(&name));
            }
            prop_assert_eq!(&map.clone().into_iter().collect::<Table<_>>(), &table);
            let text = serde_json::to_string(&table).unwrap();
            prop_assert_eq!(&text, &serde_json::to_string(&map).unwrap());
            prop_assert_eq!(&serde_json::from_str::<Table<u32>>(&text).unwrap(), &table);
            table.retain(|thing| thing % 2 == 0);
            map.retain(|_, thing| *thing % 2 == 0);
            prop_assert!(table.values().eq(map.values()));
            table.clear();
            prop_assert!(table.is_empty());
        }
    }
}
