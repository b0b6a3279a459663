//! What a login shell's terminal shows first: the message of the day, the login before this one, and what the login is
//! limited to. Nothing of it is ever said to a program. Pure.

use crate::domain::{LastLogin, Mode, Timestamp};
use crate::wire::Granted;

/// Most grants that are named.
const MOST_NAMED: usize = 8;

/// The whole greeting.
pub(super) fn greeting(motd: &str, granted: &Granted) -> String {
    let mut said = motd.to_owned();
    if !said.is_empty() && !said.ends_with('\n') {
        said.push('\n');
    }
    if let Some(LastLogin { at, from }) = granted.last_login {
        said.push_str(&format!("Last login: {} from {from}\n", date(at)));
    }
    said + &limits(granted)
}

fn limits(granted: &Granted) -> String {
    let layout = &granted.layout;
    let is_home = |at: &str| layout.home.strip_prefix('/') == Some(at);
    let granted_places = layout.placed.iter().filter(|placed| !is_home(&placed.at)).map(|placed| &placed.grant);
    let shown = granted_places.filter(|grant| grant.mode != Mode::Hidden);
    let mut named: Vec<String> = shown
        .map(|grant| {
            let no_exec = if grant.no_exec { ", noexec" } else { "" };
            format!("{} ({}{no_exec})", grant.path, grant.mode)
        })
        .collect();
    let left_out = named.len().saturating_sub(MOST_NAMED);
    named.truncate(MOST_NAMED);
    if left_out > 0 {
        named.push(format!("and {left_out} more"));
    }
    format!("You are limited to: {}\n", named.join(", "))
}

/// As C's `asctime` writes it, in UTC: a session has no time zone.
pub(super) fn date(Timestamp(seconds): Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let of = |names: &[&'static str], number: i64| usize::try_from(number).ok().and_then(|n| names.get(n).copied());
    let (weekday, month) = (of(&DAYS, days.rem_euclid(7)), of(&MONTHS, month - 1));
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let (weekday, month) = (weekday.unwrap_or_default(), month.unwrap_or_default());
    format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{:02} {year} UTC", second % 60)
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar: years begin in March here, so that the
/// day that comes and goes is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected ones are from `date -u -d @SECONDS '+%a %b %e %T %Y'`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu Jan  1 00:00:00 1970 UTC"),
            (951_782_399, "Mon Feb 28 23:59:59 2000 UTC"),
            (951_782_400, "Tue Feb 29 00:00:00 2000 UTC"),
            (1_795_455_623, "Mon Nov 23 17:40:23 2026 UTC"),
            (4_107_542_400, "Mon Mar  1 00:00:00 2100 UTC"),
            (-1, "Wed Dec 31 23:59:59 1969 UTC"),
        ] {
            assert_eq!(date(Timestamp(seconds)), text);
        }
    }
}
