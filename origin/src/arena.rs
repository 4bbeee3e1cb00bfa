//! A table of values under small keys that are never mistaken for a later tenant of the same place.
//!
//! A key carries the generation of its place; removing a value ends the generation, so a key that outlived its
//! value finds nothing. Memory follows the greatest number of values held at once.

/// Names one value of one arena for as long as the value is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

pub(crate) struct Arena<T> {
    places: Vec<Place<T>>,
    vacant: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Arena { places: Vec::new(), vacant: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.vacant.pop() {
            let place = &mut self.places[index as usize];
            place.value = Some(value);
            return Key { index, generation: place.generation };
        }
        let index = u32::try_from(self.places.len()).expect("the pool's bounds keep its tables far below 2^32");
        self.places.push(Place { generation: 0, value: Some(value) });
        Key { index, generation: 0 }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        if place.generation == key.generation { place.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(key.index);
        Some(value)
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().zip(0u32..).filter_map(|(place, index)| {
            place.value.as_ref().map(|value| (Key { index, generation: place.generation }, value))
        })
    }
}

impl<T> std::ops::Index<Key> for Arena<T> {
    type Output = T;

    fn index(&self, key: Key) -> &T {
        self.get(key).expect("the key's value is in the arena")
    }
}

impl<T> std::ops::IndexMut<Key> for Arena<T> {
    fn index_mut(&mut self, key: Key) -> &mut T {
        self.get_mut(key).expect("the key's value is in the arena")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_that_outlived_its_value_finds_nothing() {
        let mut arena = Arena::new();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena[second], "second");
        assert_eq!(arena.len(), 1);
    }
}
