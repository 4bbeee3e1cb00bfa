//! What a client wants first (RFC 9218): the Priority field of a request, and `PRIORITY_UPDATE`, as a rank.
//!
//! The transport knows numbers only: streams of a higher one are sent first, those of the same one by turns. Within an
//! urgency, what is of use only as a whole is sent in the order of its requests, and before what is of use in parts
//! (section 10). A client that says nothing is served by turns: it may not read its answers in that order.

/// The urgency of what says none (section 4.1).
const URGENCY: u8 = 3;
const URGENCY_LEAST: u8 = 7;
/// Places within one urgency: requests beyond them share the last one.
const PLACES: i32 = 1 << 24;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// 0 to 7, the most urgent first.
    pub urgency: u8,
    /// Parts of it are of use.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Priority { urgency: URGENCY, incremental: true }
    }
}

impl Priority {
    /// Reads a field's value; what cannot be read, or is out of range, is not there (section 4).
    pub fn of(value: &[u8]) -> Self {
        let mut found = Priority { urgency: URGENCY, incremental: false };
        for member in value.split(|&byte| byte == b',') {
            // Parameters mean nothing.
            let member = member.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            match member {
                [b'u', b'=', digit @ b'0'..=b'7'] => found.urgency = digit - b'0',
                b"i" | b"i=?1" => found.incremental = true,
                b"i=?0" => found.incremental = false,
                _ => {}
            }
        }
        found
    }

    /// The transport's number for a request stream.
    pub fn rank(self, stream: u64) -> i32 {
        let urgency = i32::from(URGENCY_LEAST - self.urgency.min(URGENCY_LEAST)) * PLACES;
        let request = i32::try_from(stream / 4).unwrap_or(i32::MAX).min(PLACES - 2);
        urgency + if self.incremental { 0 } else { PLACES - 1 - request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_and_what_cannot_be_is_not_there() {
        for (value, urgency, incremental) in [
            ("u=0", 0, false),
            ("i, u=7", 7, true),
            ("u=3;x, i", 3, true),
            ("u=5;x=1;y,i=?1", 5, true),
            ("i, i=?0", 3, false),
            ("u=8", 3, false),
            ("u=-1, i=1", 3, false),
            ("", 3, false),
        ] {
            assert_eq!(Priority::of(value.as_bytes()), Priority { urgency, incremental }, "{value}");
        }
    }

    #[test]
    fn the_urgent_come_first_then_wholes_in_their_order_then_parts_by_turns() {
        let of = |urgency, incremental, stream| Priority { urgency, incremental }.rank(stream);
        let order =
            [of(0, false, 400), of(0, true, 0), of(3, false, 0), of(3, false, 4), of(3, true, 0), of(7, true, 0)];
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
        assert_eq!(of(3, true, 0), of(3, true, 400), "by turns");
        assert!(of(3, false, u64::MAX) > of(3, true, 0), "however many there were");
        assert_eq!(of(255, true, 0), of(7, true, 0));
    }
}
