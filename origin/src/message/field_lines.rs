//! The fields of a response, kept as the text that HTTP/1.1 would send.
//!
//! Most responses pass on as they came, so a map would be made only to be written out again; it is made where somebody
//! edits. The lines stand in one buffer as `name: value CRLF`, names in lower case, without start line and without the
//! empty line; beside it stand the lengths of each line's name and value, so offsets follow by adding.
//!
//! Invariant: names are tokens in lower case, values have no byte that HTTP forbids.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Bytes between a name and its value.
const SEPARATOR: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";
/// Room for what an answer's lines usually take, in bytes.
const USUAL_BYTES: usize = 512;

/// Lengths of one line's name and value, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    name: u32,
    value: u32,
}

impl Line {
    /// Where name and value are in a line that begins at `start`.
    fn at(self, start: usize) -> (Range<usize>, Range<usize>) {
        let name = start..start + self.name as usize;
        let value = name.end + SEPARATOR.len();
        (name, value..value + self.value as usize)
    }

    fn bytes(self) -> usize {
        self.name as usize + SEPARATOR.len() + self.value as usize + LINE_END.len()
    }
}

/// The field lines of one response, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldLines {
    text: Vec<u8>,
    lines: Vec<Line>,
}

impl FieldLines {
    /// None yet, with room for so many.
    pub(crate) fn with_capacity(lines: usize) -> Self {
        Self { text: Vec::with_capacity(USUAL_BYTES), lines: Vec::with_capacity(lines) }
    }

    /// Adds a line whose name and value a codec has checked; the name may be in any case.
    pub(crate) fn push_checked(&mut self, name: &[u8], value: &[u8]) {
        self.text.reserve(name.len() + SEPARATOR.len() + value.len() + LINE_END.len());
        self.text.extend(name.iter().map(u8::to_ascii_lowercase));
        self.text.extend_from_slice(SEPARATOR);
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(LINE_END);
        self.lines.push(Line { name: name.len() as u32, value: value.len() as u32 });
    }

    /// Adds a line as it came, its CRLF included; its name and value are those that a codec has checked in it.
    pub(crate) fn push_line(&mut self, line: &[u8], name: &[u8], value: &[u8]) {
        if line.len() != name.len() + SEPARATOR.len() + value.len() + LINE_END.len() || line[name.len() + 1] != b' ' {
            // White space that is more or less than usual.
            return self.push_checked(name, value);
        }
        let start = self.text.len();
        self.text.extend_from_slice(line);
        self.text[start..start + name.len()].make_ascii_lowercase();
        self.lines.push(Line { name: name.len() as u32, value: value.len() as u32 });
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.push_checked(name.as_str().as_bytes(), value.as_bytes());
    }

    /// The lines as HTTP/1.1 sends them, without the empty line at the end.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Every line as (name in lower case, value without surrounding white space).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ranges().map(|(name, value)| (&self.text[name], &self.text[value]))
    }

    /// The value of the first line called `name` (given in lower case).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
    }

    /// Drops the lines whose names are not kept.
    pub fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let mut kept = Self::with_capacity(self.lines.len());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            kept.push_checked(name, value);
        }
        *self = kept;
    }

    /// The same fields as a map; the values share one buffer.
    pub fn into_map(self) -> HeaderMap {
        let ranges: Vec<_> = self.ranges().collect();
        let text = Bytes::from(self.text);
        let mut map = HeaderMap::with_capacity(ranges.len());
        for (name, value) in ranges {
            let name = HeaderName::from_bytes(&text[name]).expect("names were checked when they came");
            let value = HeaderValue::from_maybe_shared(text.slice(value)).expect("values were checked as well");
            map.append(name, value);
        }
        map
    }

    fn ranges(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let mut start = 0;
        self.lines.iter().map(move |line| {
            let ranges = line.at(start);
            start += line.bytes();
            ranges
        })
    }
}

impl From<&HeaderMap> for FieldLines {
    fn from(map: &HeaderMap) -> Self {
        let mut lines = Self::with_capacity(map.len());
        map.iter().for_each(|(name, value)| lines.push(name, value));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> FieldLines {
        let mut lines = FieldLines::with_capacity(3);
        for (name, value) in [("Content-Type", "text/html"), ("x", ""), ("Link", "a"), ("link", "b")] {
            lines.push_checked(name.as_bytes(), value.as_bytes());
        }
        lines
    }

    #[test]
    fn lines_stand_as_http_1_1_sends_them() {
        let lines = lines();
        assert_eq!(lines.text(), b"content-type: text/html\r\nx: \r\nlink: a\r\nlink: b\r\n");
        assert_eq!((lines.len(), lines.get("x"), lines.get("link")), (4, Some(&b""[..]), Some(&b"a"[..])));
        assert_eq!(lines.get("y"), None);
    }

    #[test]
    fn a_map_and_back_holds_the_same_fields() {
        let map = lines().into_map();
        assert_eq!(map.get_all("link").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(FieldLines::from(&map), lines());
    }

    #[test]
    fn a_line_as_it_came_gets_the_usual_white_space() {
        let mut lines = FieldLines::with_capacity(3);
        for (line, value) in
            [("Ab: c", "c"), ("Ab:c", "c"), ("Ab:\tc", "c"), ("Ab:  c ", "c"), ("Ab:", ""), ("Ab:c ", "c")]
        {
            lines.push_line(format!("{line}\r\n").as_bytes(), b"Ab", value.as_bytes());
        }
        assert_eq!(lines.text(), b"ab: c\r\nab: c\r\nab: c\r\nab: c\r\nab: \r\nab: c\r\n");
    }

    #[test]
    fn what_is_not_kept_leaves_no_trace() {
        let mut lines = lines();
        lines.retain(|name| name != b"link");
        assert_eq!(lines.text(), b"content-type: text/html\r\nx: \r\n");
        assert_eq!(lines.iter().count(), 2);
    }
}
