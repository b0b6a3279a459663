//! Times as people and OpenSSH write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::domain::{Timestamp, seconds};

/// The time of OpenSSH's `expiry-time`: `YYYYMMDD[HHMM[SS]][Z]`, in the zone of this host without the `Z`.
pub(super) fn of_openssh(text: &str) -> Option<Timestamp> {
    let (digits, zone) = match text.strip_suffix('Z') {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    let layout = match digits.len() {
        8 => "%Y%m%d",
        12 => "%Y%m%d%H%M",
        14 => "%Y%m%d%H%M%S",
        _ => return None,
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let date = match digits.len() {
        8 => jiff::civil::Date::strptime(layout, digits).ok()?.to_datetime(jiff::civil::Time::midnight()),
        _ => DateTime::strptime(layout, digits).ok()?,
    };
    in_zone(date, zone)
}

/// The time that an operator gives: `2026-12-31`, `2026-12-31T18:00`, `2026-12-31T18:00:00Z`. Without a zone it is this
/// host's; a day is its beginning.
pub fn of_operator(text: &str) -> Option<Timestamp> {
    if let Ok(exact) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(exact.as_second()));
    }
    in_zone(text.parse::<DateTime>().ok()?, TimeZone::system())
}

/// Whether this host knows a time zone by this name.
pub fn is_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

/// A time that has been: as [`of_operator`], or how long ago: `30m`, `12h`, `7d`, `2w`.
pub fn past(text: &str, now: Timestamp) -> Option<Timestamp> {
    match seconds(text) {
        Some(seconds) => now.0.checked_sub(seconds).map(Timestamp),
        None => of_operator(text),
    }
}

/// The same, or how long from now: `30m`, `12h`, `2d`, `1w`.
pub fn of_operator_from(now: Timestamp, text: &str) -> Option<Timestamp> {
    match seconds(text) {
        Some(seconds) => now.0.checked_add(seconds).map(Timestamp),
        None => of_operator(text),
    }
}

/// What the clock says.
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_second())
}

/// A time for people to read.
pub fn shown(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

fn in_zone(date: DateTime, zone: TimeZone) -> Option<Timestamp> {
    Some(Timestamp(zone.to_timestamp(date).ok()?.as_second()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_of_openssh_are_read() {
        for (text, seconds) in
            [("20300101Z", 1_893_456_000), ("203001010000Z", 1_893_456_000), ("20300101000001Z", 1_893_456_001)]
        {
            assert_eq!(of_openssh(text), Some(Timestamp(seconds)), "{text}");
        }
        let here = TimeZone::system().to_offset(jiff::Timestamp::from_second(1_893_456_000).expect("a time")).seconds();
        assert_eq!(of_openssh("20300101"), Some(Timestamp(1_893_456_000 - i64::from(here))));
        for text in ["", "Z", "2030", "20301301Z", "20300132Z", "203001012500Z", "2030010Z", "+0300101Z", "2030-1-1"] {
            assert_eq!(of_openssh(text), None, "{text:?}");
        }
    }

    #[test]
    fn times_of_operators_are_read_back_as_they_are_shown() {
        assert_eq!(of_operator("2030-01-01T00:00:00Z"), Some(Timestamp(1_893_456_000)));
        assert_eq!(of_operator("2030-01-01T02:00+02:00"), Some(Timestamp(1_893_456_000)));
        assert_eq!(shown(Timestamp(1_893_456_000)), "2030-01-01T00:00:00Z");
        assert!(of_operator("2030-01-01").is_some() && of_operator("2030-01-01T18:00").is_some());
        assert_eq!(of_operator("tomorrow"), None);
        let from = |text| of_operator_from(Timestamp(1_000), text);
        assert_eq!((from("2m"), from("1w")), (Some(Timestamp(1_120)), Some(Timestamp(605_800))));
        assert_eq!(from("2030-01-01T00:00:00Z"), Some(Timestamp(1_893_456_000)));
        for text in ["", "d", "-1d", "+1d", "1.5h", "99999999999999999999d", "9223372036854775807w"] {
            assert_eq!(from(text), None, "{text:?}");
        }
    }

    #[test]
    fn times_that_have_been_are_read() {
        let now = Timestamp(1_000_000);
        assert_eq!(past("90m", now), Some(Timestamp(1_000_000 - 5400)));
        assert_eq!(past("7d", now), Some(Timestamp(1_000_000 - 604_800)));
        assert_eq!(past("2030-01-01T00:00:00Z", now), Some(Timestamp(1_893_456_000)));
        for text in ["", "d", "-1d", "1y", "1.5h", "tomorrow", "99999999999d"] {
            assert_eq!(past(text, now), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_hard(text in "\\PC{0,20}") {
            let is_written_so = text.trim_end_matches('Z').bytes().all(|b| b.is_ascii_digit());
            prop_assert!(of_openssh(&text).is_none() || is_written_so);
            prop_assert!(of_operator(&text).is_none_or(|time| of_operator(&shown(time)).is_some()));
        }

        #[test]
        fn every_shown_time_is_read(seconds in 0_i64..4_000_000_000) {
            prop_assert_eq!(of_operator(&shown(Timestamp(seconds))), Some(Timestamp(seconds)));
        }
    }
}
