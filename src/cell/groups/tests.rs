//! Groups in the kernel's own trees. They need root; without it, or without a tree, they are left out.

use std::os::fd::AsFd;

use super::*;
use crate::sys::{self, CloneFlags, Forked};

mod as_root {
    use super::*;

    /// A group of the tests' own in every tree, which goes when the test is over.
    struct Place {
        name: String,
        groups: Groups,
    }

    impl Place {
        fn new(test: &str) -> Place {
            let name = format!("/enclos-test-{}-{test}", std::process::id());
            let (groups, _) = Groups::prepare(Some(&name), "unit");
            assert!(!groups.roots.is_empty(), "no control groups are mounted");
            Place { name, groups }
        }

        fn has(&self, version: Version) -> bool {
            self.groups.roots.iter().any(|root| root.version == version)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            self.groups.remove_all().expect("everything is removed");
            let trees =
                find::trees(&fs::read_to_string(MOUNTS).expect("mounts"), &fs::read_to_string(OWN).expect("own"));
            for tree in trees {
                drop(fs::remove_dir(tree.directory(Some(&self.name))));
            }
        }
    }

    /// A process that is born into a group and sleeps there.
    fn born_in(doors: &Doors) -> (u32, OwnedFd) {
        let whole = doors.whole.as_ref().map(AsFd::as_fd);
        match sys::fork_into(CloneFlags::NONE, whole).expect("fork") {
            Forked::Child => {
                for part in &doors.parts {
                    if rustix::io::write(part, b"0").is_err() {
                        sys::exit_now(1);
                    }
                }
                std::thread::sleep(std::time::Duration::from_secs(60));
                sys::exit_now(0)
            }
            Forked::Parent { pid, pidfd } => (pid, pidfd),
        }
    }

    fn reap(pidfd: &OwnedFd) {
        let end = rustix::process::waitid(
            rustix::process::WaitId::PidFd(pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED,
        );
        end.expect("our own child");
    }

    #[test]
    fn a_process_is_born_into_its_group_and_ends_with_it() {
        let mut place = Place::new("born");
        if !place.has(Version::Two) {
            return;
        }
        let group = place.groups.make("acme", "7", &Amounts::default(), &Amounts::default()).expect("a group");
        let doors = place.groups.doors(&group).expect("doors");
        let (pid, pidfd) = born_in(&doors);
        let of = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
        let own = of(pid);
        assert!(
            own.lines()
                .any(|l| l.starts_with("0::/enclos-test-") && l.contains("/unit-") && l.ends_with("/account-acme/7")),
            "{own}"
        );
        place.groups.kill(&group).expect("ended");
        reap(&pidfd);
        place.groups.remove(group);
        while place.groups.is_untidy() {
            place.groups.tidy();
        }
        let left = place.groups.roots.iter().find(|root| has_groups(&root.directory));
        assert!(left.is_none(), "the account's group goes with the last cell");
    }

    #[test]
    fn what_an_earlier_run_left_is_removed_with_what_runs_in_it() {
        let mut place = Place::new("left");
        if !place.has(Version::Two) {
            return;
        }
        let group = place.groups.make("acme", "7", &Amounts::default(), &Amounts::default()).expect("a group");
        let (_, pidfd) = born_in(&Doors { parts: Vec::new(), ..place.groups.doors(&group).expect("doors") });
        let (other, _) = Groups::prepare(Some(&place.name), "unit");
        assert!(other.roots.is_empty(), "this process has the place, and it is locked");
        // As when the process that had it is gone.
        place.groups.roots.clear();
        let (again, _) = Groups::prepare(Some(&place.name), "unit");
        place.groups = again;
        assert!(!place.groups.roots.is_empty());
        reap(&pidfd);
        assert!(group.places.iter().all(|place| !place.exists()));
    }

    #[test]
    fn limits_are_what_the_kernel_says() {
        let mut place = Place::new("limits");
        let amounts = Amounts { memory: Some(64 << 20), processes: Some(20), cpu: Some(50) };
        let group = place.groups.make("acme", "7", &Amounts::default(), &amounts).expect("a group");
        let said: Vec<String> = group
            .places
            .iter()
            .flat_map(|place| ["memory.max", "memory.limit_in_bytes", "pids.max"].map(|file| place.join(file)))
            .filter_map(|file| fs::read_to_string(file).ok())
            .map(|text| text.trim().to_owned())
            .collect();
        let bounded: Vec<Controller> = place.groups.roots.iter().flat_map(|root| root.controllers.clone()).collect();
        for (controller, value) in [(Controller::Memory, "67108864"), (Controller::Processes, "20")] {
            assert_eq!(bounded.contains(&controller), said.iter().any(|s| s == value), "{controller:?} in {said:?}");
        }
        place.groups.remove(group);
    }
}
