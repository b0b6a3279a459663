//! The line that `ls -l` would print, which version 3 sends beside every name and people read in their clients.

use super::engine::Settings;
use crate::domain::Timestamp;
use crate::files::Entry;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: i64 = 86_400;
/// As `ls` does, times older than this are shown with their year.
const RECENT: i64 = 182 * DAY;

/// Appends the line for one entry, without a line break. It is put together by hand: with the formatting of the standard
/// library it took as long as looking at the file.
pub(super) fn put(out: &mut Vec<u8>, settings: &Settings, entry: &Entry, now: Timestamp) {
    let found = &entry.attributes;
    let (user, group) = settings.names(found);
    out.extend_from_slice(&permissions(found.mode));
    out.push(b' ');
    put_number(out, found.links, 4, b' ');
    for name in [&user, &group] {
        out.push(b' ');
        put_padded(out, name.as_bytes(), 8);
    }
    out.push(b' ');
    put_number(out, found.size, 8, b' ');
    out.push(b' ');
    put_date(out, found.modified, now.0);
    out.extend_from_slice(&entry.name);
}

/// A number at the right of so many places.
fn put_number(out: &mut Vec<u8>, number: u64, places: usize, padding: u8) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    out.extend(std::iter::repeat_n(padding, places.saturating_sub(digits.len())));
    out.extend_from_slice(digits.as_bytes());
}

/// A text at the left of so many places; names are ASCII.
fn put_padded(out: &mut Vec<u8>, text: &[u8], places: usize) {
    out.extend_from_slice(text);
    out.extend(std::iter::repeat_n(b' ', places.saturating_sub(text.len())));
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

fn put_date(out: &mut Vec<u8>, at: i64, now: i64) {
    let (year, month, day) = date(at.div_euclid(DAY));
    out.extend_from_slice(MONTHS.get(month).copied().unwrap_or("???").as_bytes());
    out.push(b' ');
    put_number(out, day.unsigned_abs(), 2, b' ');
    out.push(b' ');
    let age = now.saturating_sub(at);
    if (-DAY..RECENT).contains(&age) {
        let minute = at.rem_euclid(DAY).unsigned_abs() / 60;
        put_number(out, minute / 60, 2, b'0');
        out.push(b':');
        put_number(out, minute % 60, 2, b'0');
    } else {
        match u64::try_from(year) {
            Ok(year) => put_number(out, year, 5, b' '),
            Err(_) => put_padded(out, year.to_string().as_bytes(), 5),
        }
    }
    out.push(b' ');
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

    fn dated(at: i64, now: i64) -> String {
        let mut line = Vec::new();
        put_date(&mut line, at, now);
        String::from_utf8(line).expect("ASCII")
    }

    #[test]
    fn no_time_is_too_odd_to_be_printed() {
        assert_eq!(dated(0, 0), "Jan  1 00:00 ");
        assert_eq!(dated(951_827_696, 951_900_000), "Feb 29 12:34 ");
        assert_eq!(dated(951_827_696, 1_951_827_696), "Feb 29  2000 ");
        assert_eq!(dated(-1, DAY * 400), "Dec 31  1969 ");
        assert!(dated(i64::MAX, 0).ends_with("292277026596 "));
        assert!(dated(i64::MIN, 0).ends_with("-292277022657 "));
    }

    #[test]
    fn a_line_has_its_columns() {
        let settings = Settings {
            user: "bob".to_owned(),
            group: "a-longer-name".to_owned(),
            owner_ids: (7, 8),
            own_ids: (7, 8),
            umask: 0,
            start: Vec::new(),
            home: Vec::new(),
            links: crate::sftp::LinkOrder::default(),
        };
        let attributes = crate::files::Attributes {
            size: 1234,
            uid: 7,
            gid: 8,
            mode: 0o100_644,
            links: 1,
            accessed: 0,
            modified: 0,
        };
        let mut line = Vec::new();
        put(&mut line, &settings, &Entry { name: b"a name".to_vec(), attributes }, Timestamp(0));
        let wanted = "-rw-r--r--    1 bob      a-longer-name     1234 Jan  1 00:00 a name";
        assert_eq!(String::from_utf8_lossy(&line), wanted);
        let large = crate::files::Attributes { size: u64::MAX, links: 12_345, ..attributes };
        line.clear();
        put(&mut line, &settings, &Entry { name: b"x".to_vec(), attributes: large }, Timestamp(0));
        assert!(
            String::from_utf8_lossy(&line).starts_with("-rw-r--r-- 12345 bob      a-longer-name 18446744073709551615 ")
        );
    }

    #[test]
    fn permissions_look_as_ls_prints_them() {
        assert_eq!(&permissions(0o100_644), b"-rw-r--r--");
        assert_eq!(&permissions(0o041_777), b"drwxrwxrwt");
        assert_eq!(&permissions(0o104_650), b"-rwSr-x---");
        assert_eq!(&permissions(0o120_777), b"lrwxrwxrwx");
    }
}
