//! What deploys do: rsync of a large tree in which nothing has changed, and a clone by git.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::report::{Report, Unit};
use crate::server::{Place, Server, run, said};
use crate::transfers::{AES_128_GCM, options};
use crate::{Extent, Taken, taken};

pub(crate) const ABOUT: &str = "By rsync and git over OpenSSH's client, with Enclos in a cell made for it. The tree has as many \
    files as the source of Linux, in 5,000 directories; their sizes go up to 64 KiB. The repository has 4,000 files and \
    200 commits.";
/// Files in one directory.
const IN_ONE: usize = 16;
/// What the commits of the repository are about.
const THINGS: usize = 2_000;
const COMMITS: usize = 200;

pub(crate) fn measure(place: &Place, servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    report.version("rsync", said(Command::new("rsync").arg("--version")).context("rsync is needed")?);
    report.version("git", said(Command::new("git").arg("--version")).context("git is needed")?);
    grow(&place.path("tree"), extent.tree)?;
    repository(place)?;
    for server in servers {
        // The times too: a file that is as large and as old is taken for the same.
        for what in ["tree", "repository"] {
            run(Command::new("cp").args(["-a", "--"]).arg(place.path(what)).arg(server.files()))?;
            server.own_all(&server.files().join(what))?;
        }
    }
    for round in 0..extent.rounds {
        eprintln!("trees, round {} of {}", round + 1, extent.rounds);
        for server in servers {
            let compared = taken(server, || rsync(place, server))?;
            note(report, server, &format!("rsync of {} files, none changed", extent.tree), compared);
            let cloned = taken(server, || clone(place, server))?;
            note(report, server, "git clone", cloned);
            fs::remove_dir_all(place.path("clone"))?;
        }
    }
    Ok(())
}

fn note(report: &mut Report, server: &Server, row: &str, taken: Taken) {
    report.note(&format!("{row}: time"), Unit::Milliseconds, server, taken.wall.as_secs_f64() * 1e3);
    report.note(&format!("{row}: server CPU"), Unit::Milliseconds, server, taken.cpu.as_secs_f64() * 1e3);
}

/// A tree with so many files, of which one differs from the next in size.
fn grow(tree: &Path, files: usize) -> Result<()> {
    let content = vec![b'x'; 64 << 10];
    for n in 0..files {
        let directory = tree.join((n / IN_ONE / 64).to_string()).join((n / IN_ONE % 64).to_string());
        if n % IN_ONE == 0 {
            fs::create_dir_all(&directory)?;
        }
        // Most are small, as in a tree of sources.
        let size = (n * 7919 % 4096) << [0, 0, 1, 4].get(n % 4).copied().unwrap_or(0);
        fs::write(directory.join(format!("file-{n}.c")), content.get(..size).unwrap_or(&content))?;
    }
    Ok(())
}

/// A repository whose history is packed.
fn repository(place: &Place) -> Result<()> {
    let work = place.path("work");
    fs::create_dir(&work)?;
    let git = |arguments: &[&str]| run(git().arg("-C").arg(&work).args(arguments));
    git(&["init", "-q"])?;
    for commit in 0..COMMITS {
        for n in (0..THINGS).filter(|n| n % COMMITS == commit) {
            for m in 0..=n % 3 {
                fs::write(work.join(format!("{n}-{m}.txt")), format!("{n} {m} {commit}\n").repeat(64))?;
            }
        }
        git(&["add", "-A"])?;
        git(&["commit", "-q", "-m", "a change"])?;
    }
    git(&["gc", "-q"])?;
    run(Command::new("git").args(["clone", "-q", "--bare"]).arg(&work).arg(place.path("repository")))
}

/// With an author, and without the settings of whoever measures.
fn git() -> Command {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").args([
        "-c",
        "gc.auto=0",
        "-c",
        "maintenance.auto=false",
        "-c",
        "user.name=Bench",
        "-c",
        "user.email=bench@localhost",
    ]);
    git
}

fn ssh(server: &Server) -> String {
    format!("ssh {}", options(server, AES_128_GCM.1).join(" "))
}

fn rsync(place: &Place, server: &Server) -> Result<()> {
    let ended = Command::new("rsync")
        .args(["-rt", "--stats", "-e", &ssh(server)])
        .arg(format!("{}/", place.path("tree").display()))
        .arg(format!("{}@127.0.0.1:{}/", server.runner(), server.files().join("tree").display()))
        .output()?;
    let said = String::from_utf8_lossy(&ended.stdout);
    ensure!(ended.status.success(), "rsync: {}", String::from_utf8_lossy(&ended.stderr));
    ensure!(said.contains("files transferred: 0"), "something has changed: {said}");
    Ok(())
}

fn clone(place: &Place, server: &Server) -> Result<()> {
    let from = format!("{}@127.0.0.1:{}", server.runner(), server.files().join("repository").display());
    run(git().env("GIT_SSH_COMMAND", ssh(server)).args(["clone", "-q", &from]).arg(place.path("clone")))
}
