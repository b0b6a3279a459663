//! Days of the week and times of the day at which somebody may log in. What a zone means is not known here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The days, as they are written.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// When a week is open: `mon-fri 08:00-18:00, sat 09:00-12:00 in Europe/Paris`. Without a zone it is the node's. A time that
/// is not after the one before it is on the next day: `fri 22:00-06:00`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    spans: Vec<Span>,
    zone: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u8,
    last: u8,
    from: u16,
    to: u16,
}

/// Why a text says no hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHours {
    /// A part of it is no days with times.
    #[error("{0:?} are no hours: write days and times such as mon-fri 08:00-18:00, sat 09:00-12:00 in Europe/Paris")]
    Span(String),
    /// There are too many parts.
    #[error("more than {most} times of a week cannot be kept", most = Hours::MOST)]
    TooMany,
    /// What stands after `in` cannot be the name of a zone.
    #[error("{0:?} is no time zone: give its name, such as Europe/Paris or UTC")]
    Zone(String),
}

/// What hours come to at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opening {
    /// No hours are kept.
    #[default]
    Always,
    /// It is within them, until then.
    Until(Timestamp),
    /// It is not.
    Closed,
}

impl Opening {
    /// Whether it is open at a moment, which is not before the one that this was said of.
    pub fn is_open(self, now: Timestamp) -> bool {
        match self {
            Opening::Always => true,
            Opening::Until(end) => now < end,
            Opening::Closed => false,
        }
    }

    /// When it closes.
    pub fn end(self) -> Option<Timestamp> {
        if let Opening::Until(end) = self { Some(end) } else { None }
    }
}

impl Hours {
    /// Most parts of one week.
    pub const MOST: usize = 16;
    /// Longest name of a zone.
    const LONGEST_ZONE: usize = 64;

    /// The zone that they are meant in; `None` for the node's.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// What begins on a day of the week (0 is Monday): from when, in minutes of that day, until when, in minutes from its
    /// beginning.
    pub fn on(&self, day: u8) -> impl Iterator<Item = (u16, u16)> {
        let is_meant = move |span: &&Span| {
            let (first, last) = (span.first, span.last);
            if first <= last { (first..=last).contains(&day) } else { day >= first || day <= last }
        };
        let times = |span: &Span| (span.from, if span.to > span.from { span.to } else { span.to + DAY });
        self.spans.iter().filter(is_meant).map(times)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str, most: usize| {
        let is_number = (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour, 2)?, number(minute, 2).filter(|m| *m < 60 && minute.len() == 2)?);
    Some(hour * 60 + minute).filter(|time| *time <= DAY)
}

fn day(text: &str) -> Option<u8> {
    DAYS.iter().position(|name| text.eq_ignore_ascii_case(name)).and_then(|day| u8::try_from(day).ok())
}

fn days(text: &str) -> Option<(u8, u8)> {
    match text.split_once('-') {
        _ if text.eq_ignore_ascii_case("daily") => Some((0, 6)),
        Some((first, last)) => Some((day(first)?, day(last)?)),
        None => day(text).map(|only| (only, only)),
    }
}

fn span(text: &str) -> Option<Span> {
    let mut words = text.split_whitespace();
    let ((first, last), times) = (days(words.next()?)?, words.next()?);
    let (from, to) = times.split_once('-')?;
    let (from, to) = (time(from)?, time(to)?);
    let is_whole = words.next().is_none() && from != to && from < DAY;
    is_whole.then_some(Span { first, last, from, to })
}

impl std::str::FromStr for Hours {
    type Err = BadHours;

    fn from_str(text: &str) -> Result<Self, BadHours> {
        let (week, zone) = match text.split_once(" in ") {
            Some((week, zone)) => (week, Some(zone.trim())),
            None => (text, None),
        };
        let is_name = |zone: &str| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/_+-".contains(&b);
            !zone.is_empty() && zone.len() <= Self::LONGEST_ZONE && zone.bytes().all(is_plain) && !zone.starts_with('/')
        };
        if let Some(bad) = zone.filter(|zone| !is_name(zone)) {
            return Err(BadHours::Zone(shortened(bad)));
        }
        if week.split(',').count() > Self::MOST {
            return Err(BadHours::TooMany);
        }
        let read = |part: &str| span(part).ok_or_else(|| BadHours::Span(shortened(part.trim())));
        let spans = week.split(',').map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Hours { spans, zone: zone.map(ToOwned::to_owned) })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |day: u8| DAYS.get(usize::from(day)).copied().unwrap_or_default();
        match (self.first, self.last) {
            (0, 6) => f.write_str("daily")?,
            (first, last) if first == last => f.write_str(name(first))?,
            (first, last) => write!(f, "{}-{}", name(first), name(last))?,
        }
        let (from, to) = (self.from, self.to);
        write!(f, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans: Vec<String> = self.spans.iter().map(ToString::to_string).collect();
        f.write_str(&spans.join(", "))?;
        self.zone.iter().try_for_each(|zone| write!(f, " in {zone}"))
    }
}

by_text!(BadHours: Hours);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hours_are_read_and_written_alike() {
        for (text, shown) in [
            ("mon-fri 08:00-18:00", "mon-fri 08:00-18:00"),
            (
                "Mon-Fri 8:00-18:00,sat 9:30-12:00 in Europe/Paris",
                "mon-fri 08:00-18:00, sat 09:30-12:00 in Europe/Paris",
            ),
            ("daily 22:00-06:00 in UTC", "daily 22:00-06:00 in UTC"),
            ("sat-mon 00:00-24:00", "sat-mon 00:00-24:00"),
        ] {
            let hours: Hours = text.parse().expect(text);
            assert_eq!(hours.to_string(), shown);
            assert_eq!(shown.parse::<Hours>(), Ok(hours));
        }
    }

    #[test]
    fn what_are_no_hours_is_refused() {
        for text in [
            "",
            "mon",
            "mon 08:00",
            "mon 08:00-08:00",
            "mon 25:00-26:00",
            "mon 08:60-09:00",
            "mon 8-18",
            "abc 08:00-09:00",
            "mon 08:00-09:00 x",
            "mon 24:00-08:00",
            "mon 08:00-18:00 in",
            "mon 08:00-18:00 in a zone",
            "mon 08:00-18:00 in /etc/passwd",
            "mon 08:00-18:00 in ../x",
        ] {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let hours: Hours = "fri-sun 22:00-06:00, sun 12:00-13:00".parse().expect("hours");
        let on = |day| hours.on(day).collect::<Vec<_>>();
        assert_eq!(on(3), []);
        assert_eq!(on(4), [(22 * 60, 30 * 60)]);
        assert_eq!(on(6), [(22 * 60, 30 * 60), (12 * 60, 13 * 60)]);
        let across: Hours = "sat-mon 08:00-09:00".parse().expect("hours");
        assert_eq!((0..7).filter(|day| across.on(*day).next().is_some()).collect::<Vec<_>>(), [0, 5, 6]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_hard(text in "[a-z0-9:, /-]{0,60}|\\PC{0,40}") {
            if let Ok(hours) = text.parse::<Hours>() {
                prop_assert_eq!(hours.to_string().parse::<Hours>(), Ok(hours));
            }
        }
    }
}
