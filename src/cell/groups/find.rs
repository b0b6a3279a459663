//! Which trees of control groups there are, and where in them this process is. Pure: reads the kernel's texts.

use std::path::{Path, PathBuf};

/// Of the two kinds of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// A tree for each controller, or for a few.
    One,
    /// One tree for all.
    Two,
}

/// What a group can bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Processor time.
    Cpu,
    /// Reading and writing of disks: accounts get the same part of them.
    Io,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 4] = [Controller::Memory, Controller::Processes, Controller::Cpu, Controller::Io];

    /// As the kernel calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Processes => "pids",
            Controller::Cpu => "cpu",
            // In version 1, where it divides nothing by itself, it has another name.
            Controller::Io => "io",
        }
    }
}

/// A tree that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub version: Version,
    mount: PathBuf,
    /// The group of this process, without a leading `/`.
    own: String,
    /// What it bounds; of version 2 each group tells for itself.
    pub controllers: Vec<Controller>,
}

impl Tree {
    /// A group of it: the one that is named, or this process's own.
    pub(super) fn directory(&self, named: Option<&str>) -> PathBuf {
        self.mount.join(named.map_or(self.own.as_str(), |name| name.trim_start_matches('/')))
    }
}

/// Those of ours among the kernel's names.
pub(super) fn controllers<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<Controller> {
    Controller::ALL.into_iter().filter(|controller| names.clone().any(|name| name == controller.name())).collect()
}

/// All trees that bound something of ours. `mounts` is `/proc/self/mountinfo` and `groups` `/proc/self/cgroup` (proc(5),
/// cgroups(7)).
pub(super) fn trees(mounts: &str, groups: &str) -> Vec<Tree> {
    let mounted: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::of).collect();
    groups.lines().filter_map(|line| tree(line, &mounted)).collect()
}

/// `4:memory:/a/b`, or `0::/a/b` for version 2.
fn tree(line: &str, mounted: &[Mount<'_>]) -> Option<Tree> {
    let mut parts = line.splitn(3, ':');
    let (_, names, own) = (parts.next()?, parts.next()?, parts.next()?);
    let (version, controllers) = match names {
        "" => (Version::Two, Vec::new()),
        names => (Version::One, controllers(names.split(','))),
    };
    let is_it = |mount: &&Mount<'_>| match version {
        Version::Two => mount.kind == "cgroup2",
        Version::One => mount.kind == "cgroup" && names.split(',').all(|n| mount.options.split(',').any(|o| o == n)),
    };
    // A group that has to be named by way of its parent lies outside of what this process sees.
    let is_seen = !own.split('/').any(|part| part == "..");
    let mount = mounted.iter().find(is_it).filter(|_| is_seen)?;
    let is_of_use = version == Version::Two || !controllers.is_empty();
    is_of_use.then(|| Tree {
        version,
        mount: Path::new(&mount.place).to_owned(),
        own: own.trim_start_matches('/').to_owned(),
        controllers,
    })
}

struct Mount<'a> {
    place: String,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// A line of `mountinfo`: number, parent, device, root, place, options, tags, `-`, kind, source, its options.
    fn of(line: &'a str) -> Option<Mount<'a>> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, place) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, _, options) = (after.next()?, after.next()?, after.next()?);
        (root == "/").then(|| Mount { place: unescaped(place), kind, options })
    }
}

/// Spaces and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// Why none of them is of use.
pub(super) fn why_not(trees: &[Tree], is_named: bool) -> String {
    let has = |version| trees.iter().any(|tree| tree.version == version);
    match (has(Version::Two), has(Version::One), is_named) {
        (_, _, true) => "the group of `control_group` does not have it".to_owned(),
        (_, true, false) => "control groups of version 1 are used only where `control_group` names one".to_owned(),
        (true, false, false) => {
            "the control group that the node is in does not have it (Delegate=yes in its unit gives \
                                 it)"
            .to_owned()
        }
        (false, false, false) => "no control groups are mounted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: &str = "\
        24 30 0:22 / /proc rw,nosuid shared:12 - proc proc rw\n\
        35 25 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const OLD: &str = "\
        32 26 0:28 / /sys/fs/cgroup/memory rw,relatime shared:14 - cgroup cgroup rw,memory\n\
        33 26 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        34 26 0:31 /docker/x /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        35 26 0:30 / /sys/fs/a\\040b rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn one_tree_is_found_with_the_own_place_in_it() {
        let found = trees(MODERN, "0::/system.slice/enclos.service\n");
        let [tree] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(tree.directory(None), Path::new("/sys/fs/cgroup/system.slice/enclos.service"));
        assert_eq!(tree.directory(Some("/enclos")), Path::new("/sys/fs/cgroup/enclos"));
        assert_eq!(tree.version, Version::Two);
    }

    #[test]
    fn of_many_trees_those_are_found_that_are_mounted_whole_and_bound_something() {
        let own = "12:pids:/x\n9:cpu,cpuacct:/a\n8:devices:/\n4:memory:/a/b\n1:name=systemd:/\n0::/a\n";
        let found = trees(OLD, own);
        let shown: Vec<_> = found.iter().map(|t| (t.directory(None), t.controllers.clone())).collect();
        assert_eq!(
            shown,
            [
                ("/sys/fs/cgroup/cpu,cpuacct/a".into(), vec![Controller::Cpu]),
                ("/sys/fs/cgroup/memory/a/b".into(), vec![Controller::Memory]),
                ("/sys/fs/a b/a".into(), vec![]),
            ]
        );
    }

    #[test]
    fn a_place_outside_of_what_is_seen_is_none() {
        assert_eq!(trees(MODERN, "0::/../../other\n"), []);
        for broken in ["", "0", "0:", "x:y", ":::::", "0::"] {
            assert!(trees(MODERN, broken).len() <= 1, "{broken:?}");
            assert_eq!(trees(broken, "0::/\n"), []);
        }
    }

    #[test]
    fn why_nothing_is_bounded_is_said_in_a_sentence() {
        let modern = trees(MODERN, "0::/\n");
        assert!(why_not(&modern, false).contains("Delegate=yes"));
        assert!(why_not(&trees(OLD, "4:memory:/\n0::/\n"), false).contains("`control_group` names one"));
        assert!(why_not(&modern, true).contains("does not have it"));
        assert!(why_not(&[], false).contains("no control groups"));
    }
}
