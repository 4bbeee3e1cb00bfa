//! The field section that a client sent last, and what was found in it.
//!
//! Clients that keep a connection mostly repeat their fields to the byte: programs, health checks and other proxies always,
//! browsers for what they load alike. A section that is the one before is not judged again: the same bytes have the same
//! verdict. All spans are kept as if the section began at 0.

use super::{Conclusion, RequestHead, RequestLine, Version};
use crate::h1::fields::{FlatFields, Line, Lines, Span};
use crate::h1::framing::BodyFraming;
use crate::limits::{HEAD_BYTES_CEILING, Limits};
use bytes::BytesMut;

/// Sections that are remembered, in bytes: more than a browser sends without large cookies.
const SECTION_BYTES_MAX: usize = 2048;

/// The last section, with its final empty line.
#[derive(Debug, Default)]
pub(super) struct Recall {
    section: Vec<u8>,
    lines: Lines,
    /// The longest line, in bytes: limits may have been lowered since.
    longest: usize,
    facts: Option<(Version, Conclusion)>,
}

impl Recall {
    /// Remembers the section that begins at `start` of a head that broke no rule.
    pub(super) fn keep(&mut self, head: &[u8], start: usize, lines: &[Line], version: Version, facts: &Conclusion) {
        let section = &head[start..];
        self.section.clear();
        if section.len() > SECTION_BYTES_MAX || facts.upgrade.is_some() {
            return;
        }
        self.section.extend_from_slice(section);
        let start = start as u16;
        let back = |span: Span| Span { start: span.start - start, end: span.end - start };
        self.lines.clear();
        self.lines.extend(lines.iter().map(|line| Line { name: back(line.name), value: back(line.value) }));
        self.longest = self.lines.iter().map(|line| usize::from(line.value.end - line.name.start)).max().unwrap_or(0);
        self.facts = Some((version, Conclusion { host: facts.host.map(back), ..*facts }));
    }

    /// Whether the section that begins at `start` of the buffer is the remembered one, under these limits.
    pub(super) fn knows(&self, buffer: &[u8], start: usize, version: Version, limits: &Limits) -> bool {
        let Some((known, facts)) = &self.facts else { return false };
        let within = self.lines.len() <= limits.header_count as usize
            && self.longest <= limits.field_bytes as usize
            && start + self.section.len() <= limits.header_bytes.min(HEAD_BYTES_CEILING) as usize
            && !matches!(facts.framing, BodyFraming::Length(length) if length > limits.body_bytes_max);
        !self.section.is_empty() && within && *known == version && buffer[start..].starts_with(&self.section)
    }

    /// The head that ends with the remembered section; it is split off the buffer.
    pub(super) fn head(&self, buffer: &mut BytesMut, start: usize, line: RequestLine) -> Option<RequestHead> {
        let (_, facts) = self.facts.as_ref()?;
        let offset = start as u16;
        let on = |span: Span| Span { start: span.start + offset, end: span.end + offset };
        let lines = self.lines.iter().map(|line| Line { name: on(line.name), value: on(line.value) }).collect();
        Some(RequestHead {
            method: line.method,
            version: line.version,
            fields: FlatFields::new(buffer.split_to(start + self.section.len()).freeze(), lines),
            framing: facts.framing,
            keep_alive: facts.keep_alive,
            expect_continue: facts.expect_continue,
            target: line.target,
            host: facts.host.map(on),
            upgrade: None,
        })
    }
}
