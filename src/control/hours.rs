//! What hours come to at a moment, by the time zones that this host knows.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

use super::store::Known;
use crate::domain::{Hours, Opening, Terms, Timestamp};

/// How many days are looked at from the one before today on: more than a week, so that hours that come again each week are
/// seen whole.
const DAYS: i32 = 9;

/// What hours come to. In a zone that this host does not know it is never open.
pub(super) fn opening(hours: Option<&Hours>, now: Timestamp) -> Opening {
    let Some(hours) = hours else { return Opening::Always };
    let zone = match hours.zone() {
        None => TimeZone::system(),
        Some(name) => match TimeZone::get(name) {
            Ok(zone) => zone,
            Err(error) => {
                tracing::error!(zone = name, %error, "hours in a time zone that this host does not know let nobody in");
                return Opening::Closed;
            }
        },
    };
    within(hours, &zone, now).map_or(Opening::Closed, Opening::Until)
}

/// Puts in what the hours of everybody who is known come to at another moment.
pub(super) fn look_again(known: &mut Known, now: Timestamp) {
    let of_key = known.key.as_mut().map(|key| &mut key.terms);
    let of_authority = known.authority.as_mut().map(|authority| &mut authority.terms);
    let all = [&mut known.account.terms, &mut known.user.terms].into_iter().chain(of_key).chain(of_authority);
    for Terms { hours, open, .. } in all {
        *open = opening(hours.as_ref(), now);
    }
}

/// When the time ends that a moment lies in, if it does lie in one. What follows without a gap is one.
fn within(hours: &Hours, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let today = zone.to_datetime(jiff::Timestamp::from_second(now.0).ok()?).date();
    let mut spans: Vec<(i64, i64)> = (-1..DAYS).filter_map(|days| on(hours, zone, today, days)).flatten().collect();
    spans.sort_unstable();
    let mut end = None;
    for (from, to) in spans {
        let is_in = from <= now.0 && now.0 < to;
        let goes_on = end.is_some_and(|end| from <= end && end < to);
        if is_in || goes_on {
            end = end.max(Some(to));
        }
    }
    end.map(Timestamp)
}

/// The times that begin so many days from a date.
fn on(hours: &Hours, zone: &TimeZone, today: Date, days: i32) -> Option<Vec<(i64, i64)>> {
    let date = today.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
    let moment = |minutes: u16| {
        let date = date.checked_add(jiff::Span::new().try_days(minutes / (24 * 60)).ok()?).ok()?;
        let (hour, minute) = (i8::try_from(minutes / 60 % 24).ok()?, i8::try_from(minutes % 60).ok()?);
        let time = Time::new(hour, minute, 0, 0).ok()?;
        Some(zone.to_timestamp(date.to_datetime(time)).ok()?.as_second())
    };
    let spans = hours.on(day(date.weekday())).filter_map(|(from, to)| Some((moment(from)?, moment(to)?)));
    Some(spans.collect())
}

fn day(weekday: Weekday) -> u8 {
    u8::try_from(weekday.to_monday_zero_offset()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::times;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().expect("a time").as_second())
    }

    fn opening_of(hours: &str, now: &str) -> Opening {
        opening(Some(&hours.parse().expect("hours")), at(now))
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        let office = "mon-fri 08:00-18:00 in Europe/Paris";
        // 2026-11-26 is a Thursday; Paris is an hour ahead of UTC in winter.
        assert_eq!(opening_of(office, "2026-11-26T06:59:59Z"), Opening::Closed);
        assert_eq!(opening_of(office, "2026-11-26T07:00:00Z"), Opening::Until(at("2026-11-26T17:00:00Z")));
        assert_eq!(opening_of(office, "2026-11-26T16:59:59Z"), Opening::Until(at("2026-11-26T17:00:00Z")));
        assert_eq!(opening_of(office, "2026-11-26T17:00:00Z"), Opening::Closed);
        assert_eq!(opening_of(office, "2026-11-28T12:00:00Z"), Opening::Closed, "a Saturday");
        // And two in summer.
        assert_eq!(opening_of(office, "2026-07-02T06:00:00Z"), Opening::Until(at("2026-07-02T16:00:00Z")));
        assert_eq!(opening(None, at("2026-07-02T06:00:00Z")), Opening::Always);
    }

    #[test]
    fn a_night_goes_over_midnight() {
        let night = "fri 22:00-06:00 in UTC";
        assert_eq!(opening_of(night, "2026-11-27T21:59:00Z"), Opening::Closed);
        assert_eq!(opening_of(night, "2026-11-28T05:59:00Z"), Opening::Until(at("2026-11-28T06:00:00Z")));
        assert_eq!(opening_of(night, "2026-11-27T05:59:00Z"), Opening::Closed, "the night before is Thursday's");
    }

    #[test]
    fn times_that_meet_are_one() {
        let two = "thu 08:00-12:00, thu 12:00-18:00, thu 20:00-24:00, fri 00:00-02:00 in UTC";
        assert_eq!(opening_of(two, "2026-11-26T09:00:00Z"), Opening::Until(at("2026-11-26T18:00:00Z")));
        assert_eq!(opening_of(two, "2026-11-26T21:00:00Z"), Opening::Until(at("2026-11-27T02:00:00Z")));
        let Opening::Until(end) = opening_of("daily 00:00-24:00 in UTC", "2026-11-26T21:00:00Z") else {
            panic!("closed")
        };
        assert!(end.0 - at("2026-11-26T21:00:00Z").0 > 7 * 86_400);
    }

    #[test]
    fn an_unknown_zone_is_never_open() {
        assert!(!times::is_zone("Mars/Olympus") && times::is_zone("Europe/Paris"));
        assert_eq!(opening_of("daily 00:00-24:00 in Mars/Olympus", "2026-11-26T21:00:00Z"), Opening::Closed);
    }
}
