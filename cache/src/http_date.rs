//! HTTP-date (RFC 9110 section 5.6.7): reading the three formats, writing the preferred one.
//!
//! Strict in shape, lenient in case: RFC 9111 section 4.2 asks caches to match names case-insensitively and to take a
//! date with a zone other than GMT as invalid. The name of the weekday must be one, but need not be the right one.
//! Moments before 1970 count as the epoch: they are as far in the past as anything here needs to be.

use crate::Time;

/// An HTTP-date as seconds since the Unix epoch.
///
/// `now` settles the century of an RFC 850 date: what would lie more than 50 years ahead is in the past.
pub fn parse(bytes: &[u8], now: Time) -> Option<u64> {
    match bytes.len() {
        29 => imf_fixdate(bytes),
        24 => asctime(bytes),
        _ => rfc850(bytes, now),
    }
}

/// The IMF-fixdate of a moment, as Date and Last-Modified carry it.
pub fn format(time: Time) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(time.as_secs()))
}

const DAYS: [&[u8]; 7] = [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];
const MONTHS: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(b: &[u8]) -> Option<u64> {
    let shaped = is_short_day(&b[..3]) && &b[3..5] == b", " && b[7] == b' ' && b[11] == b' ' && b[16] == b' ';
    (shaped && b[25] == b' ' && b[26..].eq_ignore_ascii_case(b"gmt")).then_some(())?;
    seconds(number(&b[12..16])?, month(&b[8..11])?, number(&b[5..7])?, &b[17..25])
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(b: &[u8]) -> Option<u64> {
    let shaped = is_short_day(&b[..3]) && b[3] == b' ' && b[7] == b' ' && b[10] == b' ' && b[19] == b' ';
    shaped.then_some(())?;
    let day = if b[8] == b' ' { number(&b[9..10])? } else { number(&b[8..10])? };
    seconds(number(&b[20..])?, month(&b[4..7])?, day, &b[11..19])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(bytes: &[u8], now: Time) -> Option<u64> {
    let comma = memchr::memchr(b',', bytes)?;
    let (day_name, b) = bytes.split_at(comma);
    DAYS.iter().any(|day| day_name.eq_ignore_ascii_case(day)).then_some(())?;
    let shaped = b.len() == 24 && b[1] == b' ' && b[4] == b'-' && b[8] == b'-' && b[11] == b' ' && b[20] == b' ';
    (shaped && b[21..].eq_ignore_ascii_case(b"gmt")).then_some(())?;
    let (day, month, short) = (number(&b[2..4])?, month(&b[5..8])?, number(&b[9..11])?);
    // RFC 9110 section 5.6.7: a two-digit year that appears to be more than 50 years in the future is in the past.
    const FIFTY_YEARS_SECS: u64 = 18_262 * 86_400;
    let century = civil_year(now) / 100 * 100;
    let limit = now.as_secs() + FIFTY_YEARS_SECS;
    let within = |century: u64| seconds(century + short, month, day, &b[12..20]).filter(|&at| at <= limit);
    within(century + 100).or_else(|| within(century)).or_else(|| within(century.saturating_sub(100)))
}

/// The year of the Gregorian calendar that `now` falls in.
fn civil_year(now: Time) -> u64 {
    let days = now.as_secs() / 86_400;
    // An estimate by the mean year is off by one at most.
    let year = 1970 + days * 400 / 146_097;
    if days < days_before_year(year) { year - 1 } else { year }
}

fn is_short_day(name: &[u8]) -> bool {
    DAYS.iter().any(|day| name.eq_ignore_ascii_case(&day[..3]))
}

/// The month as 1 to 12.
fn month(name: &[u8]) -> Option<u64> {
    MONTHS.chunks_exact(3).zip(1..).find(|(month, _)| name.eq_ignore_ascii_case(month)).map(|(_, number)| number)
}

/// Digits only: no sign, no space.
fn number(digits: &[u8]) -> Option<u64> {
    crate::syntax::decimal(digits)
}

/// Seconds since the epoch of a calendar date and `HH:MM:SS`; `None` for a date that does not exist.
fn seconds(year: u64, month: u64, day: u64, clock: &[u8]) -> Option<u64> {
    const MONTH_DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = is_leap(year);
    let days_in = |m: u64| MONTH_DAYS[(m - 1) as usize] + u64::from(leap && m == 2);
    let (hour, minute, second) = (number(&clock[..2])?, number(&clock[3..5])?, number(&clock[6..8])?);
    let exists = clock[2] == b':' && clock[5] == b':' && (1..=days_in(month)).contains(&day);
    // 60 is a leap second (RFC 9110 section 5.6.7 allows it); it counts as the second before, never later.
    (exists && hour < 24 && minute < 60 && second <= 60).then_some(())?;
    if year < 1970 {
        return Some(0);
    }
    let days = days_before_year(year) + (1..month).map(days_in).sum::<u64>() + day - 1;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second.min(59))
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days from 1970-01-01 to the first day of `year` (1970 or later).
const fn days_before_year(year: u64) -> u64 {
    let before = year - 1;
    (year - 1970) * 365 + (before / 4 - 1969 / 4) - (before / 100 - 1969 / 100) + (before / 400 - 1969 / 400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::NOW;

    const EXAMPLE: u64 = 784_111_777; // the moment RFC 9110 section 5.6.7 gives in all three formats

    #[test]
    fn the_three_formats_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            "SUN, 06 nov 1994 08:49:37 gmt",
            "sunday, 06-NOV-94 08:49:37 Gmt",
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), Some(EXAMPLE), "{text}");
        }
    }

    #[test]
    fn what_is_no_http_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "now",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1995 08:49:37 GMT",
            "Sun, 29 Feb 1900 08:49:37 GMT",
            "Sun, 06 Nvm 1994 08:49:37 GMT",
            "Sun, 06 ovd 1994 08:49:37 GMT",
            "Xun, 06 Nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sun Nov   6 08:49:37 1994",
            "Sun Nov  6 08:49:37 94  ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }

    #[test]
    fn a_two_digit_year_is_at_most_fifty_years_ahead() {
        let at = |year: u64| seconds(year, 1, 10, b"00:00:00");
        for (short, year) in [("77", 2077), ("78", 1978), ("00", 2000), ("27", 2027), ("76", 2076), ("99", 1999)] {
            let text = format!("Sunday, 10-Jan-{short} 00:00:00 GMT");
            assert_eq!(parse(text.as_bytes(), NOW), at(year), "{text}");
        }
        // Late in the century the next one is near.
        let late = Time::from_secs(seconds(2080, 6, 1, b"00:00:00").unwrap_or(0));
        assert_eq!(parse(b"Sunday, 10-Jan-05 00:00:00 GMT", late), at(2105));
        assert_eq!(parse(b"Sunday, 10-Jan-79 00:00:00 GMT", late), at(2079));
    }

    #[test]
    fn edges_of_the_calendar_hold() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", 0),
            ("Mon, 01 Jan 0001 00:00:00 GMT", 0),
            ("Thu, 29 Feb 1972 00:00:00 GMT", 68_169_600),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Tue, 19 Jan 2038 03:14:08 GMT", 1 << 31),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799),
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), Some(expected), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(secs in 0_u64..253_402_300_799) {
            assert_eq!(parse(format(Time::from_secs(secs)).as_bytes(), NOW), Some(secs));
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            parse(&text, NOW);
        }

        #[test]
        fn no_text_of_the_right_length_panics(text in "[A-Za-z]{3,9},? [ -~]{15,26}") {
            parse(text.as_bytes(), NOW);
        }
    }
}
