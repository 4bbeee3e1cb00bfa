//! A request's fields as the site's rules have edited them: what the origin gets to see, and therefore what it chooses a
//! variant by. Where a rule reduces a field to a few values, Vary on that field has as few variants.

use headland_cache::Fields;
use smallvec::SmallVec;

/// Fields with some of them changed.
pub struct Edited<'a, F> {
    fields: &'a F,
    changed: SmallVec<[Changed<'a>; 2]>,
}

/// What became of one field.
struct Changed<'a> {
    /// In lower case.
    name: &'a str,
    /// Whether the client's own lines stay.
    kept: bool,
    values: SmallVec<[&'a [u8]; 1]>,
}

impl<'a, F: Fields> Edited<'a, F> {
    pub fn new(fields: &'a F) -> Self {
        Edited { fields, changed: SmallVec::new() }
    }

    pub fn set(&mut self, name: &'a str, value: &'a [u8]) {
        self.remove(name);
        self.add(name, value);
    }

    pub fn add(&mut self, name: &'a str, value: &'a [u8]) {
        self.entry(name).values.push(value);
    }

    pub fn remove(&mut self, name: &'a str) {
        let entry = self.entry(name);
        entry.kept = false;
        entry.values.clear();
    }

    fn entry(&mut self, name: &'a str) -> &mut Changed<'a> {
        let known = self.changed.iter().position(|changed| changed.name == name);
        let at = known.unwrap_or_else(|| {
            self.changed.push(Changed { name, kept: true, values: SmallVec::new() });
            self.changed.len() - 1
        });
        &mut self.changed[at]
    }

    fn of(&self, name: &[u8]) -> Option<&Changed<'a>> {
        self.changed.iter().find(|changed| name.eq_ignore_ascii_case(changed.name.as_bytes()))
    }
}

impl<F: Fields> Fields for Edited<'_, F> {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let own = self.fields.lines().filter(|(name, _)| self.of(name).is_none_or(|changed| changed.kept));
        let added = self
            .changed
            .iter()
            .flat_map(|changed| changed.values.iter().map(|value| (changed.name.as_bytes(), *value)));
        own.chain(added)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn edits_are_seen_in_their_order() {
        let fields: HeaderMap = [("a", "1"), ("b", "2"), ("c", "3")]
            .into_iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        let mut edited = Edited::new(&fields);
        edited.set("a", b"x");
        edited.add("a", b"y");
        edited.add("b", b"z");
        edited.add("c", b"lost");
        edited.remove("c");
        edited.set("d", b"new");
        let named = |name| edited.named(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(named("a"), [b"x", b"y"]);
        assert_eq!(named("b"), [b"2", b"z"]);
        assert_eq!(named("c"), Vec::<Vec<u8>>::new());
        assert_eq!(named("d"), [b"new"]);
    }
}
