//! Which rule decides, in words: the answer to "why may she (not) write there?"
//!
//! Runs in: control, which asks for an operator. Decides nothing by itself: a login is decided by [`decide`], what is
//! reached by the grants that are left to the [`Principal`], where they lie by [`Layout`], and names and places by the
//! policies, all of them the code that lets in and refuses. Only what lies on disk is not looked at: owners and
//! permissions there are the account's own affair.

use serde::{Deserialize, Serialize};

use super::{Circumstances, Decision, Denial, Holder, Principal, decide};
use crate::domain::{
    Attempt, DIRECT, Factors, Facts, ForcedCommand, Grant, KeyFacts, Layout, Mode, Proof, RelPath, Service, Services,
    SessionLimits, Timestamp, deciding, is_unfinished,
};

/// A decision and the rule that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The rule, by a word for programs.
    pub rule: String,
    /// The same in a sentence.
    pub why: String,
}

/// What is made of one thing that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What is tried.
    pub attempt: Attempt,
    /// What comes of it.
    pub verdict: Verdict,
}

/// What a login comes to, and what it could do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Whether there is a way in.
    pub login: Verdict,
    /// When it ends by itself, if it begins now.
    pub until: Option<Timestamp>,
    /// What its session would be held to.
    pub limits: Vec<Limited>,
    /// What it could do.
    pub answers: Vec<Answer>,
}

/// A limit of a session and whose it is: of how many there may be each, of everything else the narrowest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// What is limited: `sessions`, `lasting`, `idle` (both in seconds) or `bandwidth` (bytes in a second).
    pub what: String,
    /// To how much.
    pub most: u64,
    /// By whom, as a rule is named.
    pub rule: String,
}

fn yes(rule: &str, why: String) -> Verdict {
    Verdict { allowed: true, rule: rule.to_owned(), why }
}

fn no(rule: &str, why: String) -> Verdict {
    Verdict { allowed: false, rule: rule.to_owned(), why }
}

/// Explains a login that shows some things one after the other, each with what is known of it.
pub fn explain(shown: &[(Proof, Option<Facts>)], at: &Circumstances, attempts: &[Attempt]) -> Explanation {
    let facts = shown.first().and_then(|(_, facts)| facts.as_ref());
    match (log_in(shown, at), facts) {
        (Ok(principal), Some(facts)) => {
            let answer =
                |attempt: &Attempt| Answer { attempt: attempt.clone(), verdict: judge(&principal, facts, attempt) };
            Explanation {
                login: let_in(&principal),
                until: principal.until_if_begun(at.now),
                limits: limits(&principal),
                answers: attempts.iter().map(answer).collect(),
            }
        }
        (entry, facts) => {
            let refusal = entry.err().unwrap_or(Refused::Denied(Denial::UnknownUser));
            let verdict = refused(refusal, facts);
            let answer = |attempt: &Attempt| Answer { attempt: attempt.clone(), verdict: verdict.clone() };
            Explanation {
                answers: attempts.iter().map(answer).collect(),
                login: verdict,
                until: None,
                limits: Vec::new(),
            }
        }
    }
}

fn limits(principal: &Principal) -> Vec<Limited> {
    let of_all = principal.session_limits();
    let limited = |what: &str, most: u64, holder: Holder| Limited {
        what: what.to_owned(),
        most,
        rule: format!("{holder}-{what}"),
    };
    let narrowest = |what: &'static str, of: fn(&SessionLimits) -> Option<u64>| {
        let said = of_all.iter().filter_map(move |(holder, limits)| Some((of(limits)?, *holder)));
        said.min_by_key(|(most, _)| *most).map(|(most, holder)| limited(what, most, holder))
    };
    let sessions =
        of_all.iter().filter_map(|(holder, limits)| Some(limited("sessions", limits.at_once?.into(), *holder)));
    sessions
        .chain(narrowest("lasting", |limits| limits.lasting.map(u64::from)))
        .chain(narrowest("idle", |limits| limits.idle.map(u64::from)))
        .chain(narrowest("bandwidth", |limits| limits.bandwidth.map(u64::from)))
        .collect()
}

/// Why somebody is not in.
enum Refused {
    Denied(Denial),
    Left(Factors),
}

/// What is shown one after the other on one connection.
fn log_in(shown: &[(Proof, Option<Facts>)], at: &Circumstances) -> Result<Principal, Refused> {
    let mut earlier = None;
    let mut left = Factors::NONE;
    for (proof, facts) in shown {
        match decide(proof, facts.as_ref(), at, earlier.take()).map_err(Refused::Denied)? {
            Decision::In(principal) => return Ok(*principal),
            // Nobody asks for one to be explained: it lets nobody in.
            Decision::Invited(_) => return Err(Refused::Left(Factors::NONE)),
            Decision::More(proven, more) => {
                earlier = Some(*proven);
                left = more;
            }
        }
    }
    Err(Refused::Left(left))
}

fn let_in(principal: &Principal) -> Verdict {
    let (user, shown) = (principal.user(), principal.shown());
    let why = match principal.key() {
        Some(KeyFacts { fingerprint, label, certified: None, .. }) => {
            format!("{shown} is a way in for {user}, by the key {}", named(fingerprint, label))
        }
        Some(KeyFacts { fingerprint, certified: Some(certified), .. }) => {
            format!("{shown} is a way in for {user}, by the key {fingerprint} with the certificate {certified}")
        }
        None => format!("{shown} is a way in for {user}"),
    };
    yes("login", why)
}

fn named(fingerprint: &str, label: &str) -> String {
    if label.is_empty() { fingerprint.to_owned() } else { format!("{fingerprint} ({label})") }
}

fn refused(refusal: Refused, facts: Option<&Facts>) -> Verdict {
    let user = facts.map_or_else(String::new, |facts| facts.user.name.to_string());
    let denial = match refusal {
        Refused::Left(Factors::NONE) => return no("login", "nothing is shown".to_owned()),
        Refused::Left(left) => {
            return no("login", format!("what is shown is right, and {user} has to show {left} besides"));
        }
        Refused::Denied(denial) => denial,
    };
    let account = || facts.map_or_else(String::new, |facts| facts.account.name.to_string());
    match denial {
        Denial::UnknownUser => no("user", "there is no such user".to_owned()),
        Denial::UnknownKey => no("key", format!("{user} has no such key")),
        Denial::WrongPassword => no("password", format!("{user} has no password")),
        Denial::WrongCode => no("totp", format!("{user} has no authenticator")),
        Denial::UserDisabled => no("user-status", format!("user {user} is disabled")),
        Denial::AccountDisabled => no("account-status", format!("account {} is disabled", account())),
        Denial::NoWay => no("login", format!("what is shown is right, and is no way in for {user}")),
        Denial::Expired(holder) => {
            no(&format!("{holder}-expires"), format!("the time of the {} is over", name_of(holder, facts)))
        }
        Denial::Elsewhere(holder) => {
            no(&format!("{holder}-from"), format!("the {} may not be used from this address", name_of(holder, facts)))
        }
        Denial::Closed { holder, hours } => {
            no(&format!("{holder}-hours"), format!("outside the hours of the {}: {hours}", name_of(holder, facts)))
        }
        Denial::Revoked => no(
            "revoked",
            "the key, its certificate or its authority was revoked, for everybody; see: enclos ca revoked".to_owned(),
        ),
        Denial::Contradiction(why) => no("scope", why.to_string()),
        Denial::Flawed(_) | Denial::Unfit(_) | Denial::UnknownAuthority => no("certificate", denial.to_string()),
        Denial::TakenUp | Denial::CodeAlone | Denial::Mismatch => no("login", denial.to_string()),
    }
}

fn name_of(holder: Holder, facts: Option<&Facts>) -> String {
    match (holder, facts) {
        (Holder::Account, Some(facts)) => format!("account {}", facts.account.name),
        (Holder::User, Some(facts)) => format!("user {}", facts.user.name),
        _ => holder.to_string(),
    }
}

fn judge(principal: &Principal, facts: &Facts, attempt: &Attempt) -> Verdict {
    match attempt {
        Attempt::Service(service) => service_of(principal, facts, *service),
        Attempt::Forward { host, port } => forward(principal, facts, host, *port),
        Attempt::Read(path) => reach(principal, facts, path, Want::Read),
        Attempt::Write(path) => reach(principal, facts, path, Want::Write),
    }
}

/// Whether a service is open, and what stands in its place where a command is forced.
fn service_of(principal: &Principal, facts: &Facts, service: Service) -> Verdict {
    let services = principal.services();
    let is_program = !matches!(service, Service::ForwardLocal | Service::ForwardRemote | Service::Agent);
    match &principal.programs().forced_command {
        Some(ForcedCommand::Sftp) if is_program && service != Service::Sftp => {
            no("forced-command", format!("{} gets SFTP and nothing else", principal.user()))
        }
        Some(ForcedCommand::Command(command)) if is_program => {
            let why = format!("{command:?} is run in its place");
            match service {
                Service::Shell | Service::Exec if services.run_commands() => yes("forced-command", why),
                Service::Shell | Service::Exec => closed(principal, facts, service),
                _ => no("forced-command", why),
            }
        }
        None if DIRECT.contains(&service) && services.contains(Service::Exec) => {
            yes("service", format!("{} has the service exec, which runs {service} too", principal.user()))
        }
        _ if services.contains(service) => yes("service", format!("{} has the service {service}", principal.user())),
        _ => closed(principal, facts, service),
    }
}

fn closed(principal: &Principal, facts: &Facts, service: Service) -> Verdict {
    let user = principal.user();
    match facts.user.services.contains(service) {
        true => no("key-scope", format!("{user} has the service {service}, and this key does not open it")),
        false => no("service", format!("{user} has only the services {}", facts.user.services)),
    }
}

fn forward(principal: &Principal, facts: &Facts, host: &str, port: u16) -> Verdict {
    let open = service_of(principal, facts, Service::ForwardLocal);
    if !open.allowed {
        return open;
    }
    let policy = principal.forwards();
    let (user, places, network) = (principal.user(), &policy.permit_open, policy.network);
    match policy.permit_open.opens(host, port) {
        true => yes("permit-open", format!("{user} may connect to: {places} (in the network: {network})")),
        false => no("permit-open", format!("{user} may connect to: {places}")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Read,
    Write,
}

impl Want {
    fn is_allowed(self, mode: Mode) -> bool {
        match self {
            Want::Read => mode.reads(),
            Want::Write => matches!(mode, Mode::Rw | Mode::Upload),
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Want::Read => "read",
            Want::Write => "written",
        }
    }
}

/// The services by which a file can be reached, as they are left when a command is forced.
fn reaching(principal: &Principal, facts: &Facts) -> Services {
    let ways = [Service::Sftp, Service::Scp, Service::Exec, Service::Shell, Service::Git, Service::Rsync];
    ways.into_iter().filter(|service| service_of(principal, facts, *service).allowed).collect()
}

/// Whether a path may be read or written: services, the grants and where they lie, then the names.
fn reach(principal: &Principal, facts: &Facts, path: &RelPath, want: Want) -> Verdict {
    let user = principal.user();
    let services = reaching(principal, facts);
    if services == Services::NONE {
        return no("service", format!("none of what is open to {user} reaches files ({})", principal.services()));
    }
    if let Err(unplaced) = Layout::of(principal.view(), principal.home(), principal.grants()) {
        return no("grants", unplaced.to_string());
    }
    let by_grant = by_grant(principal, facts, path, want);
    match denied_name(principal, path, want) {
        Some(why) if by_grant.allowed && services.contains(Service::Sftp) => match services.run_programs() {
            true => no("deny-names", format!("{why} over SFTP (programs that {user} runs are not held by it)")),
            false => no("deny-names", why),
        },
        _ => by_grant,
    }
}

fn by_grant(principal: &Principal, facts: &Facts, path: &RelPath, want: Want) -> Verdict {
    let user = principal.user();
    let Some(grant) = deciding(principal.grants(), path) else {
        return match deciding(&facts.grants, path) {
            Some(of_user) if of_user.is_visible() => {
                no("key-scope", format!("the scope of this key leaves {path} out"))
            }
            _ => no("grants", format!("no grant of {user} reaches {path}")),
        };
    };
    if want.is_allowed(grant.mode) {
        let new_only = if want == Want::Write && grant.mode == Mode::Upload { ", for new files" } else { "" };
        return yes("grant", format!("{user} has the grant {}{new_only}", shown(grant)));
    }
    match deciding(&facts.grants, path) {
        Some(of_user) if want.is_allowed(of_user.mode) => no(
            "key-scope",
            format!("{user} has the grant {}, and the scope of this key leaves {}", shown(of_user), grant.mode),
        ),
        _ => no("grant", format!("by the grant {} nothing is {}", shown(grant), want.verb())),
    }
}

fn shown(grant: &Grant) -> String {
    format!("{} ({})", grant.path, grant.mode)
}

/// What keeps a name from being used, whatever is granted.
fn denied_name(principal: &Principal, path: &RelPath, want: Want) -> Option<String> {
    if path.components().any(|name| is_unfinished(name.as_bytes())) {
        return Some("names of uploads that are not whole are for nobody".to_owned());
    }
    let name = path.file_name().filter(|_| want == Want::Write)?;
    let pattern = principal.uploads().deny_names.iter().find(|pattern| pattern.matches(name.as_bytes()))?;
    Some(format!("the pattern {pattern:?} denies the name {name:?}", pattern = pattern.as_str()))
}
