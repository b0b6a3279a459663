//! `enclos ban …`

use super::args::{Ban, BanTarget};
use super::{CommandError, Context, Result};
use crate::control::{Operation, times};
use crate::domain::{Banned, Timestamp, seconds};

pub(super) fn run(context: &Context<'_>, command: Ban) -> Result<()> {
    context.perform(match command {
        Ban::List => Operation::BanList,
        Ban::Remove { target } => Operation::BanRemove { who: banned(target)? },
        Ban::Add { target, lasts, until, reason } => {
            let ends =
                until.or_else(|| lasts.map(|Lasting(seconds)| Timestamp(times::now().0.saturating_add(seconds))));
            Operation::BanAdd { who: banned(target)?, ends, reason: reason.unwrap_or_default() }
        }
    })
}

fn banned(target: BanTarget) -> Result<Banned> {
    let said = || CommandError::Input("name an address, a network, or --user NAME; see: enclos ban --help".to_owned());
    Banned::of(target.address, target.user).ok_or_else(said)
}

/// How long a ban lasts, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lasting(i64);

impl std::str::FromStr for Lasting {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "not a time; write 90s, 15m, 2h, 7d or 2w".to_owned();
        match seconds(text).ok_or_else(wrong)? {
            0 => Err("a ban that is over when it begins is none; write 90s, 15m, 2h, 7d or 2w".to_owned()),
            seconds => Ok(Lasting(seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_bans_last_are_read() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("2w", 1_209_600)] {
            assert_eq!(text.parse(), Ok(Lasting(seconds)), "{text}");
        }
        for text in ["", "s", "90", "0s", "-1h", "1y", "1.5h", "99999999999d", "ä"] {
            assert!(text.parse::<Lasting>().is_err(), "{text:?}");
        }
    }
}
