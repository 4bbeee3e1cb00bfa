//! Which variant of a URL a purge is for: the header fields of the request that would get it.
//!
//! A stored response is meant when its Vary would select it for such a request (RFC 9111 section 4.1): fields that its Vary
//! does not name do not matter, and one that it names and the purge does not is absent.

use crate::Fields;
use crate::purge_rule::PurgeRuleError;
use crate::syntax::is_token;

/// Field lines of one selection: those that a purge names, and those that the rules of its site add.
pub const SELECTION_FIELDS_MAX: usize = 32;
/// Bytes of one selection, names and values together.
pub const SELECTION_BYTES_MAX: usize = 4_096;

/// Header fields of a request: names in lower case and in order, lines of one name as they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    fields: Box<[(Box<str>, Box<str>)]>,
}

impl Selection {
    /// The selection by a request with these fields; none of them is that of a request without any.
    pub fn new(fields: &[(String, String)]) -> Result<Selection, PurgeRuleError> {
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if fields.len() > SELECTION_FIELDS_MAX || bytes > SELECTION_BYTES_MAX {
            return Err(PurgeRuleError::SelectionLength);
        }
        if !fields.iter().all(|(name, value)| is_token(name.as_bytes()) && is_value(value)) {
            return Err(PurgeRuleError::Selection);
        }
        let owned = |(name, value): &(String, String)| (name.to_ascii_lowercase().into(), value.trim().into());
        let mut fields: Box<[(Box<str>, Box<str>)]> = fields.iter().map(owned).collect();
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Selection { fields })
    }

    /// Names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl Fields for Selection {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }
}

/// RFC 9110 section 5.5, without what is obsolete there.
fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Result<Selection, PurgeRuleError> {
        let owned: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Selection::new(&owned)
    }

    #[test]
    fn the_order_and_the_case_of_names_do_not_matter() {
        let one = of(&[("Accept-Language", "de"), ("X-A", "1"), ("accept-encoding", " br ")]).unwrap();
        let other = of(&[("accept-encoding", "br"), ("x-a", "1"), ("accept-language", "de")]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.fields().next(), Some(("accept-encoding", "br")));
        assert_ne!(one, of(&[("accept-encoding", "br"), ("x-a", "2"), ("accept-language", "de")]).unwrap());
    }

    #[test]
    fn what_no_request_can_carry_is_refused() {
        for (name, value) in [("", "x"), ("a b", "x"), ("a", "x\r\ny: z"), ("a", "\u{e4}"), (":path", "/")] {
            assert_eq!(of(&[(name, value)]), Err(PurgeRuleError::Selection), "{name}: {value}");
        }
        let long = "x".repeat(SELECTION_BYTES_MAX);
        assert_eq!(of(&[("a", &long)]), Err(PurgeRuleError::SelectionLength));
        assert_eq!(of(&[("a", "x"); SELECTION_FIELDS_MAX + 1]), Err(PurgeRuleError::SelectionLength));
        assert!(of(&[("a", "x"); SELECTION_FIELDS_MAX]).is_ok());
    }
}
