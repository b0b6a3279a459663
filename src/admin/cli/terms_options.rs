//! Options that say when, from where and for what an account, a user or a key is good.

use clap::Args;

use super::{CommandError, Result};
use crate::control::times;
use crate::domain::{
    ByteCount, ForcedCommand, Hours, KeyChange, Mode, Permits, RelPath, Service, SessionLimits, Setting, Sources,
    TermsChange, Timestamp, seconds,
};

/// The word that takes a setting back.
const NONE: &str = "none";

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct TermsOptions {
    /// When it ends, with live sessions: 2026-12-31, 2026-12-31T18:00 (in this host's zone) or 2026-12-31T18:00:00Z; none
    /// for never
    #[arg(long, value_name = "TIME", value_parser = or_none(time))]
    expires: Option<Setting<Timestamp>>,
    /// Addresses to come from: 192.0.2.7, 192.0.2.0/24, 192.0.2.* or !192.0.2.9, with commas between; none for everywhere
    #[arg(long, value_name = "ADDRESSES", value_parser = or_none(sources))]
    from: Option<Setting<Sources>>,
    /// Most sessions at the same time, on all nodes together; none for any number
    #[arg(long, value_name = "NUMBER", value_parser = or_none(sessions))]
    max_sessions: Option<Setting<u32>>,
    /// How long a session may last, for example 45m, 8h or 7d; none for ever
    #[arg(long, value_name = "DURATION", value_parser = or_none(lasting))]
    session_limit: Option<Setting<u32>>,
    /// How long a session may rest without a byte either way, for example 15m; none for ever
    #[arg(long, value_name = "DURATION", value_parser = or_none(lasting))]
    idle: Option<Setting<u32>>,
    /// Bytes in a second, up and down each, of all sessions of a user on a node together, for example 10M; none for as many
    /// as there are
    #[arg(long, value_name = "BYTES", value_parser = or_none(bandwidth))]
    bandwidth: Option<Setting<ByteCount>>,
    /// Days and times to be logged in at: "mon-fri 08:00-18:00, sat 09:00-12:00 in Europe/Paris" (without a zone in that of
    /// each node); none for always
    #[arg(long, value_name = "HOURS", value_parser = or_none(hours))]
    hours: Option<Setting<Hours>>,
}

impl TermsOptions {
    /// What they change; `None` when nothing was said.
    pub(super) fn change(self) -> Option<TermsChange> {
        let change = TermsChange {
            expires: self.expires.unwrap_or_default(),
            from: self.from.unwrap_or_default(),
            sessions: self.max_sessions.unwrap_or_default(),
            lasting: self.session_limit.unwrap_or_default(),
            idle: self.idle.unwrap_or_default(),
            bandwidth: self.bandwidth.unwrap_or_default(),
            hours: self.hours.unwrap_or_default(),
        };
        (change != TermsChange::default()).then_some(change)
    }
}

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct KeyOptions {
    #[command(flatten)]
    terms: TermsOptions,
    #[command(flatten)]
    scope: ScopeOptions,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ScopeOptions {
    /// Directory of the account that the key is good for, within the user's grants; give it once for each, which replaces
    /// all earlier ones; none for all that the user may reach
    #[arg(long, value_name = "PATH")]
    scope_grant: Vec<String>,
    /// Most that the key may do there: ro, upload or rw; none for what the user may
    #[arg(long, value_name = "MODE", value_parser = or_none(mode))]
    scope_mode: Option<Setting<Mode>>,
    /// The only services of the user's that the key may open; none for all of them
    #[arg(long, value_name = "SERVICES", value_delimiter = ',')]
    services: Vec<String>,
    /// Give the key's programs no terminal
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes", value_parser = yes_or_no)]
    no_terminal: Option<bool>,
    /// What is run with the key whatever a client asks for, which is in SSH_ORIGINAL_COMMAND; none to let clients ask
    #[arg(long, value_name = "COMMAND", value_parser = or_none(read::<ForcedCommand>))]
    forced_command: Option<Setting<ForcedCommand>>,
    /// The only places of the user's that the key may connect to: host:port with commas between; any for all of them
    #[arg(long, value_name = "PLACES", value_parser = or_any)]
    permit_open: Option<Setting<Permits>>,
    /// The only places of the user's that the key may listen on; any for all of them
    #[arg(long, value_name = "PLACES", value_parser = or_any)]
    permit_listen: Option<Setting<Permits>>,
}

impl KeyOptions {
    /// What they change.
    pub(super) fn change(self) -> Result<KeyChange> {
        Ok(KeyChange { terms: self.terms.change().unwrap_or_default(), ..self.scope.change()? })
    }
}

impl ScopeOptions {
    /// What they change.
    pub(super) fn change(self) -> Result<KeyChange> {
        let wrong = |error: &dyn std::fmt::Display| CommandError::Input(error.to_string());
        let paths = match self.scope_grant.as_slice() {
            [] => Setting::Kept,
            [only] if only == NONE => Setting::Unset,
            several => {
                let paths: std::result::Result<Vec<RelPath>, _> = several.iter().map(|text| text.parse()).collect();
                Setting::Set(paths.map_err(|e| wrong(&e))?.try_into().map_err(|e| wrong(&e))?)
            }
        };
        let services = match self.services.as_slice() {
            [] => Setting::Kept,
            [only] if only == NONE => Setting::Unset,
            several => {
                let services: std::result::Result<Vec<Service>, _> = several.iter().map(|text| text.parse()).collect();
                Setting::Set(services.map_err(|e| wrong(&e))?.into_iter().collect())
            }
        };
        Ok(KeyChange {
            terms: TermsChange::default(),
            paths,
            mode: self.scope_mode.unwrap_or_default(),
            services,
            no_terminal: self.no_terminal,
            forced_command: self.forced_command.unwrap_or_default(),
            permit_open: self.permit_open.unwrap_or_default(),
            permit_listen: self.permit_listen.unwrap_or_default(),
        })
    }
}

fn or_none<T>(
    read: fn(&str) -> std::result::Result<T, String>,
) -> impl Fn(&str) -> std::result::Result<Setting<T>, String> + Clone {
    move |text| if text == NONE { Ok(Setting::Unset) } else { read(text).map(Setting::Set) }
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|bad: T::Err| bad.to_string())
}

fn or_any(text: &str) -> std::result::Result<Setting<Permits>, String> {
    let places: Permits = read(text)?;
    Ok(if places == Permits::default() { Setting::Unset } else { Setting::Set(places) })
}

pub(super) fn time(text: &str) -> std::result::Result<Timestamp, String> {
    times::of_operator(text)
        .ok_or_else(|| "not a time; write 2026-12-31, 2026-12-31T18:00 or 2026-12-31T18:00:00Z".to_owned())
}

fn sources(text: &str) -> std::result::Result<Sources, String> {
    match text.parse::<Sources>() {
        Ok(listed) if listed.is_everywhere() => Err("no address is listed; give none for everywhere".to_owned()),
        Ok(listed) => Ok(listed),
        Err(bad) => Err(bad.to_string()),
    }
}

fn sessions(text: &str) -> std::result::Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "not a number above 0; to let nobody in: disable".to_owned())
}

fn lasting(text: &str) -> std::result::Result<u32, String> {
    let seconds = seconds(text).and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    seconds.ok_or_else(|| "not a duration; write 90s, 45m, 8h or 7d".to_owned())
}

fn bandwidth(text: &str) -> std::result::Result<ByteCount, String> {
    match text.parse::<ByteCount>() {
        Ok(bandwidth) if bandwidth.get() < SessionLimits::LEAST_BANDWIDTH => {
            Err("less than 64K is not kept to".to_owned())
        }
        Ok(bandwidth) => Ok(bandwidth),
        Err(bad) => Err(bad.to_string()),
    }
}

fn hours(text: &str) -> std::result::Result<Hours, String> {
    let hours: Hours = read(text)?;
    match hours.zone() {
        Some(zone) if !times::is_zone(zone) => Err(format!("this host knows no time zone {zone:?}")),
        _ => Ok(hours),
    }
}

fn mode(text: &str) -> std::result::Result<Mode, String> {
    match text.parse::<Mode>() {
        Ok(Mode::Hidden) => Err("a key that may do nothing is no key; use ro, upload or rw".to_owned()),
        Ok(mode) => Ok(mode),
        Err(bad) => Err(bad.to_string()),
    }
}

fn yes_or_no(text: &str) -> std::result::Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("say yes or no".to_owned()),
    }
}
