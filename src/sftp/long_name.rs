//! The line that `ls -l` would print, which version 3 sends beside every name and people read in their clients.

use std::io::Write;

use super::engine::Settings;
use crate::domain::Timestamp;
use crate::files::Entry;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: i64 = 86_400;
/// As `ls` does, times older than this are shown with their year.
const RECENT: i64 = 182 * DAY;

/// The line for one entry, without a line break.
pub(super) fn line(settings: &Settings, entry: &Entry, now: Timestamp) -> Vec<u8> {
    let mut line = Vec::with_capacity(64 + entry.name.len());
    let found = &entry.attributes;
    let (user, group) = settings.names(found);
    line.extend_from_slice(&permissions(found.mode));
    // Writing to a vector cannot fail.
    let written = write!(line, " {:>4} {user:<8} {group:<8} {:>8} ", found.links, found.size)
        .and_then(|()| write_date(&mut line, found.modified, now.0));
    debug_assert!(written.is_ok());
    line.extend_from_slice(&entry.name);
    line
}

fn permissions(mode: u32) -> [u8; 10] {
    let kind = match mode & 0o170_000 {
        0o040_000 => b'd',
        0o120_000 => b'l',
        0o010_000 => b'p',
        0o140_000 => b's',
        0o020_000 => b'c',
        0o060_000 => b'b',
        _ => b'-',
    };
    let bit = |bit: u32, letter: u8| if mode & bit != 0 { letter } else { b'-' };
    let run = |execute: u32, special: u32, both: u8, alone: u8| match (mode & execute != 0, mode & special != 0) {
        (true, true) => both,
        (false, true) => alone,
        (true, false) => b'x',
        (false, false) => b'-',
    };
    [
        kind,
        bit(0o400, b'r'),
        bit(0o200, b'w'),
        run(0o100, 0o4000, b's', b'S'),
        bit(0o040, b'r'),
        bit(0o020, b'w'),
        run(0o010, 0o2000, b's', b'S'),
        bit(0o004, b'r'),
        bit(0o002, b'w'),
        run(0o001, 0o1000, b't', b'T'),
    ]
}

fn write_date(line: &mut Vec<u8>, at: i64, now: i64) -> std::io::Result<()> {
    let (year, month, day) = date(at.div_euclid(DAY));
    let name = MONTHS.get(month).copied().unwrap_or("???");
    let age = now.saturating_sub(at);
    if (-DAY..RECENT).contains(&age) {
        let minute = at.rem_euclid(DAY) / 60;
        write!(line, "{name} {day:>2} {:02}:{:02} ", minute / 60, minute % 60)
    } else {
        write!(line, "{name} {day:>2} {year:>5} ")
    }
}

/// Year, month from 0 and day of a day since 1970-01-01, in the Gregorian calendar and UTC: years are counted from
/// March, so that the leap day is the last of its year.
fn date(days: i64) -> (i64, usize, i64) {
    const FOUR_CENTURIES: i64 = 146_097;
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(FOUR_CENTURIES), days.rem_euclid(FOUR_CENTURIES));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = (from_march + 2) % 12;
    let years = era * 400 + year + i64::from(from_march >= 10);
    (years, usize::try_from(month).unwrap_or(0), of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 0, 1));
        assert_eq!(date(59), (1970, 2, 1));
        assert_eq!(date(11_016), (2000, 1, 29));
        assert_eq!(date(11_017), (2000, 2, 1));
        assert_eq!(date(-1), (1969, 11, 31));
        assert_eq!(date(20_780), (2026, 10, 23));
        assert_eq!(date(24_854), (2038, 0, 18));
    }

    #[test]
    fn no_time_is_too_odd_to_be_printed() {
        for at in [i64::MIN, i64::MAX, 0, -1] {
            write_date(&mut Vec::new(), at, 0).expect("a vector takes every write");
        }
    }

    #[test]
    fn permissions_look_as_ls_prints_them() {
        assert_eq!(&permissions(0o100_644), b"-rw-r--r--");
        assert_eq!(&permissions(0o041_777), b"drwxrwxrwt");
        assert_eq!(&permissions(0o104_650), b"-rwSr-x---");
        assert_eq!(&permissions(0o120_777), b"lrwxrwxrwx");
    }
}
