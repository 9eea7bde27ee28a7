//! Times as people say them: RFC 3339, a date, or how long ago.

use jiff::{Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};

/// From when on: of a date its beginning, in UTC.
///
/// # Errors
///
/// What a time looks like, where this is none.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    said(text, Timestamp::now(), Ok)
}

/// Until when: of a date its end.
///
/// # Errors
///
/// As for [`since`].
pub(super) fn until(text: &str) -> Result<Timestamp, String> {
    said(text, Timestamp::now(), Date::tomorrow)
}

fn said(text: &str, now: Timestamp, day: fn(Date) -> Result<Date, jiff::Error>) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let midnight = |date: Date| TimeZone::UTC.to_timestamp(day(date)?.at(0, 0, 0, 0));
    let ago = |span: Span| now.checked_sub(span.to_duration(SpanRelativeTo::days_are_24_hours())?.abs());
    // A date is tried first: what both could be read as is one.
    let read = match text.parse::<Date>() {
        Ok(date) => midnight(date),
        Err(_) => text.parse::<Span>().and_then(ago),
    };
    read.map_err(|_| {
        "a time such as 2026-11-30T20:00:00Z, a date such as 2026-11-30, or a span such as 24h or 7d".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_as_a_moment_a_day_or_how_long_ago() {
        let now: Timestamp = "2026-11-30T20:00:00Z".parse().unwrap();
        let said = |text: &str, day| said(text, now, day).unwrap().to_string();
        assert_eq!(said("2026-11-30T20:00:00+01:00", Ok), "2026-11-30T19:00:00Z");
        assert_eq!(said("2026-11-28", Ok), "2026-11-28T00:00:00Z");
        assert_eq!(said("2026-11-28", Date::tomorrow), "2026-11-29T00:00:00Z");
        assert_eq!(said("24h", Ok), "2026-11-29T20:00:00Z");
        assert_eq!(said("7d", Date::tomorrow), "2026-11-23T20:00:00Z");
        for wrong in ["", "yesterday", "2026-13-01", "24", "1 month", "9999999999h"] {
            assert!(super::said(wrong, now, Ok).unwrap_err().contains("such as 24h"), "{wrong}");
        }
    }
}
