//! `enclos audit`: searching, following, and what was changed by path.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::{CommandError, Context, Result, report};
use crate::control::{AuditPage, AuditQuery, EventView, Operation, Outcome, times};
use crate::domain::{AccountName, Escaped, Timestamp, UserName};
use crate::telemetry::audit::KINDS;

/// Between two looks at what is new.
const PAUSE: Duration = Duration::from_millis(500);
/// Most events of one look.
const MOST: u32 = 2000;
/// Events before the last one that are looked for again: of several nodes, an earlier number may be written later.
const OVERLAP: i64 = 500;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Only what this user did, and what was changed about it
    #[arg(long)]
    user: Option<UserName>,
    /// Only what users of this account did, and what was changed about it
    #[arg(long)]
    account: Option<AccountName>,
    /// Only from then on: 2026-12-31, 2026-12-31T18:00 (in this host's zone), 2026-12-31T18:00:00Z, or 30m, 12h, 7d, 2w ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only of these kinds, with commas between; docs/audit.md and a wrong one name them all
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    kind: Vec<String>,
    /// Only about this path of the host, or one beneath it
    #[arg(long)]
    path: Option<String>,
    /// Only of this connection: its number, or its whole name from another event
    #[arg(long, value_parser = connection)]
    connection: Option<String>,
    /// The last so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    limit: u32,
    /// Go on with what happens from now on, until interrupted
    #[arg(long, conflicts_with_all = ["summary", "until"])]
    follow: bool,
    /// What was changed, by path, in place of the events
    #[arg(long)]
    summary: bool,
}

pub(super) fn run(context: &Context<'_>, options: Audit) -> Result<()> {
    let millis = |time: Timestamp| time.0.saturating_mul(1000);
    let query = AuditQuery {
        user: options.user,
        account: options.account,
        since: options.since.map(millis),
        until: options.until.map(millis),
        kinds: options.kind,
        path: options.path.map(|path| Escaped::new(path.as_bytes()).to_string()),
        connection: options.connection,
    };
    if options.summary {
        return context.perform(Operation::AuditSummary { query });
    }
    let found = ask(context, &query, AuditPage::Newest, options.limit)?;
    print(context, &found)?;
    if options.follow { follow(context, &query, &found) } else { Ok(()) }
}

fn ask(context: &Context<'_>, query: &AuditQuery, page: AuditPage, most: u32) -> Result<Vec<EventView>> {
    match context.ask(Operation::Audit { query: query.clone(), page, most })? {
        Outcome::Events(events) => Ok(events),
        _ => Err(CommandError::Input("the node does not know this command; is it of another release?".to_owned())),
    }
}

fn follow(context: &Context<'_>, query: &AuditQuery, found: &[EventView]) -> Result<()> {
    let mut seen: BTreeSet<i64> = found.iter().map(|event| event.id).collect();
    if seen.is_empty() {
        // Of all that is there nothing is wanted: what comes has a higher number.
        seen.extend(ask(context, &AuditQuery::default(), AuditPage::Newest, 1)?.iter().map(|event| event.id));
    }
    let first = seen.last().copied().unwrap_or(0);
    loop {
        std::thread::sleep(PAUSE);
        let last = seen.last().copied().unwrap_or(0);
        let from = last.saturating_sub(OVERLAP).max(first);
        let mut new = ask(context, query, AuditPage::After(from), MOST)?;
        new.retain(|event| !seen.contains(&event.id));
        print(context, &new)?;
        seen.extend(new.iter().map(|event| event.id));
        let last = seen.last().copied().unwrap_or(0);
        seen.retain(|id| *id == last || *id > last.saturating_sub(OVERLAP));
    }
}

/// One event a line, for people and for programs.
fn print(context: &Context<'_>, events: &[EventView]) -> Result<()> {
    let line = |event: &EventView| if context.json { event.event.to_string() } else { report::event(&event.event) };
    events.iter().try_for_each(|event| report::say(&line(event)))
}

fn time(text: &str) -> std::result::Result<Timestamp, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    times::past(text, Timestamp(i64::try_from(now).unwrap_or(i64::MAX))).ok_or_else(|| {
        "not a time; write 2026-12-31, 2026-12-31T18:00, 2026-12-31T18:00:00Z, or 7d for a week ago".to_owned()
    })
}

fn kind(text: &str) -> std::result::Result<String, String> {
    if KINDS.iter().any(|kind| kind.name == text) {
        return Ok(text.to_owned());
    }
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    Err(format!("no kind of event; there are {}", names.join(", ")))
}

fn connection(text: &str) -> std::result::Result<String, String> {
    let is_one = !text.is_empty() && text.split('-').all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_one {
        Ok(text.to_owned())
    } else {
        Err("not a connection; write 42, or a whole name such as 692632af-42".to_owned())
    }
}
