//! What a user's grants come to on this host: they are attached to a trial session as at a login, and what lies in them is
//! looked over, as the account, for what leads out of them or is run by others.
//!
//! Runs in: the monitor's process of `enclos doctor --user`. Trusts nothing on disk: whoever looks it over has the
//! account's ids, no capability, and Landlock around the account's home.

use std::collections::HashMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::inside::{Findings, look_out};
use super::{attach, hear, unexpected, wait};
use crate::authority::{self, Circumstances, Principal};
use crate::cell::{self, Kind, Plan, Privilege};
use crate::config::MonitorSettings;
use crate::domain::{Escaped, Facts, Mode};
use crate::monitor::children::{Child, reap};
use crate::monitor::ids::IdPool;
use crate::monitor::login::now;
use crate::monitor::{Error, SessionMain, system, zygote};
use crate::telemetry::Causes;
use crate::wire::{FromSession, FromZygote, Link, ToZygote};

/// Most names that are looked at, and most that are told of one kind.
const MOST_NAMES: usize = 200_000;
const MOST_TOLD: usize = 10;
/// Longest path that is told whole, in bytes.
const LONGEST_TOLD: usize = 256;

/// Names that directories of web servers mostly have.
const WEB_ROOTS: [&str; 9] =
    ["public_html", "htdocs", "httpdocs", "wwwroot", "www", "html", "web", "public", "docroot"];

/// What was found of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserReport {
    /// Why a login would not be served, or not be kept.
    pub problems: Vec<String>,
    /// What lies in the grants that somebody should know of.
    pub warnings: Vec<String>,
}

/// Examines the user that `facts` are about.
pub(in crate::monitor) fn examine(
    privilege: Privilege,
    settings: &MonitorSettings,
    facts: &Facts,
) -> Result<UserReport, Error> {
    let mut report = UserReport::default();
    let at = Circumstances { now: now(), from: std::net::Ipv4Addr::LOCALHOST.into() };
    let principal = match authority::for_examination(facts, &at) {
        Ok(principal) => principal,
        Err(denial) => {
            report.problems.push(format!("nobody could log in: {denial}"));
            return Ok(report);
        }
    };
    let mut ids = IdPool::new(&settings.paths.ids(), settings.ids)?;
    let Some(uid) = ids.take() else { return Err(Error::NoIds) };
    match Plan::for_session(&principal, privilege, uid) {
        Err(unserved) => report.problems.push(unserved.to_string()),
        Ok(plan) => {
            report.problems.extend(try_session(&plan, privilege, uid)?);
            look_over(&principal, privilege, &mut report)?;
        }
    }
    Ok(report)
}

/// Attaches the grants to a session and looks out of it, as the trial of the host does; nothing is written.
fn try_session(plan: &Plan, privilege: Privilege, uid: u32) -> Result<Vec<String>, Error> {
    debug_assert_eq!(plan.kind(), Kind::Files);
    let zygote: Child<()> = Child::fork(c"enclos-trial", |link| {
        let main: fn() -> Result<SessionMain, String> = || Ok(Box::new(look_out));
        match zygote::serve(&link, privilege, &main) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = %Causes(&error), "a trial cell could not be built");
                ExitCode::FAILURE
            }
        }
    })?;
    let seen = in_session(&zygote, plan, uid);
    zygote.kill().map_err(system("end the trial"))?;
    wait(&zygote.pidfd)?;
    reap(&zygote.pidfd);
    seen
}

fn in_session(zygote: &Child<()>, plan: &Plan, uid: u32) -> Result<Vec<String>, Error> {
    let (ours, theirs) = Link::pair()?;
    let FromZygote::Ready = hear::<FromZygote>(&zygote.link)?.0 else { return Err(unexpected()) };
    zygote.link.send(&ToZygote::Birth { slot: 0, generation: 0, uid }, Some(theirs.as_fd()))?;
    drop(theirs);
    let (FromZygote::Born { .. }, _) = hear::<FromZygote>(&zygote.link)? else { return Err(unexpected()) };
    let (FromSession::Born, Some(namespace)) = hear::<FromSession>(&ours)? else { return Err(unexpected()) };
    if let Err(fault) = attach(plan, &namespace)? {
        return Ok(vec![fault.to_string()]);
    }
    // Without writing: these are somebody's files.
    ours.send(&false, None)?;
    let Findings { mounts, landlock, seccomp } = hear::<Findings>(&ours)?.0;
    Ok([mounts, landlock, seccomp].into_iter().flatten().collect())
}

/// What one who looks over a grant has found.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    names: usize,
    /// There is more than was looked at.
    is_cut: bool,
    /// Files with more names than lie in the grants, by one of them.
    links_out: Vec<String>,
    /// Pipes, sockets and devices.
    specials: Vec<String>,
    set_ids: Vec<String>,
    /// Why a directory seems to be a web server's.
    web: Option<String>,
}

fn look_over(principal: &Principal, privilege: Privilege, report: &mut UserReport) -> Result<(), Error> {
    let home = PathBuf::from(principal.home().as_str());
    let grants: Vec<(PathBuf, Mode)> = principal
        .grants()
        .iter()
        .filter(|grant| grant.is_visible())
        .map(|grant| (home.join(grant.path.as_str()), grant.mode))
        .collect();
    let ids = (privilege == Privilege::Root).then(|| principal.owner());
    let child: Child<()> = Child::fork(c"enclos-look", |link| {
        let looked = cell::keep_for_control(ids, &[home.as_path()], &[]).map(|()| walk(&home, &grants));
        let error: Box<dyn std::error::Error> = match looked.map(|found| link.send(&found, None)) {
            Ok(Ok(())) => return ExitCode::SUCCESS,
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        tracing::warn!(error = %Causes(&*error), "the grants could not be looked over");
        ExitCode::FAILURE
    })?;
    let found = hear::<Found>(&child.link);
    child.kill().map_err(system("end who looks over the grants"))?;
    wait(&child.pidfd)?;
    reap(&child.pidfd);
    // A login is served all the same.
    let Ok((Found { is_cut, links_out, specials, set_ids, web, .. }, _)) = found else {
        report.warnings.push("what lies in the grants could not be looked over; the log says why".to_owned());
        return Ok(());
    };
    let told = |list: &[String]| list.join(", ");
    if is_cut {
        report.warnings.push(format!("only the first {MOST_NAMES} names were looked at"));
    }
    if !links_out.is_empty() {
        report.warnings.push(format!(
            "hard links lead out of the grants: these files have names elsewhere too, and who may write here changes \
             them there: {}",
            told(&links_out)
        ));
    }
    if !specials.is_empty() {
        report.warnings.push(format!("pipes, sockets or devices lie in the grants: {}", told(&specials)));
    }
    if !set_ids.is_empty() {
        report.warnings.push(format!(
            "set-user-id or set-group-id programs lie in the grants; cells take no notice of these bits, other programs of \
             the host do: {}",
            told(&set_ids)
        ));
    }
    let uploads_code = !principal.uploads().deny_names.matches(b"index.php");
    if let Some(why) = web.filter(|_| uploads_code) {
        report.warnings.push(format!(
            "a web server seems to serve what this login can write ({why}): what it uploads there may be run by that server, \
             as the account and outside of every cell; if so, deny such names (user set --deny-name '*.php' ...) or grant \
             another directory"
        ));
    }
    Ok(())
}

/// A path for people: whoever writes in a grant chooses it, and a terminal may be where it is read.
fn shown(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    match bytes.get(..LONGEST_TOLD) {
        Some(beginning) => format!("{}...", Escaped::new(beginning)),
        None => Escaped::new(bytes).to_string(),
    }
}

/// Looks at everything in the grants, up to a bound. What cannot be read is passed over: the account cannot either.
fn walk(home: &Path, grants: &[(PathBuf, Mode)]) -> Found {
    let mut found = Found::default();
    let mut linked: HashMap<(u64, u64), (u64, u64, String)> = HashMap::new();
    for (grant, mode) in grants {
        let is_written = matches!(mode, Mode::Rw | Mode::Upload);
        let below = |path: &Path| shown(path.strip_prefix(home).unwrap_or(path));
        let is_web = |path: &Path| path.components().any(|c| WEB_ROOTS.iter().any(|root| c.as_os_str() == *root));
        if is_written && is_web(grant.strip_prefix(home).unwrap_or(grant)) {
            found.web.get_or_insert_with(|| format!("the name of {}", below(grant)));
        }
        let mut front = vec![grant.clone()];
        while let Some(path) = front.pop() {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            // Nested grants are walked once.
            if path != *grant && grants.iter().any(|(other, _)| *other == path) {
                continue;
            }
            found.names += 1;
            let kind = meta.file_type();
            if kind.is_dir() {
                let mut entries = fs::read_dir(&path).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
                front.extend(entries.by_ref().take(MOST_NAMES.saturating_sub(found.names + front.len())));
                found.is_cut |= entries.next().is_some();
            } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
                found.specials.push(below(&path));
            } else if kind.is_file() {
                if meta.nlink() > 1 {
                    let entry = linked.entry((meta.dev(), meta.ino())).or_insert((0, meta.nlink(), below(&path)));
                    entry.0 += 1;
                }
                if meta.mode() & 0o6000 != 0 {
                    found.set_ids.push(below(&path));
                }
                let is_code = path.extension().is_some_and(|e| e == "php" || e == "cgi") || path.ends_with(".htaccess");
                if is_written && is_code {
                    found.web.get_or_insert_with(|| format!("there is {}", below(&path)));
                }
            }
        }
    }
    found.links_out = linked.into_values().filter(|(seen, all, _)| seen < all).map(|(_, _, path)| path).collect();
    for list in [&mut found.links_out, &mut found.specials, &mut found.set_ids] {
        list.sort();
        let more = list.len().saturating_sub(MOST_TOLD);
        list.truncate(MOST_TOLD);
        list.extend((more > 0).then(|| format!("and {more} more")));
    }
    found
}
