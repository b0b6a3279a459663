//! What of a view is more than directories on disk: names that are hidden, directories that only lead to grants, other
//! names of grants, and drop boxes.
//!
//! The mounts and Landlock hold the rights; this makes what a client sees agree with them. Trusts: the layout, which comes
//! from the monitor.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use rustix::fs::AtFlags;

use super::drop_box::DropBoxes;
use super::parts::Parts;
use super::resolve::{At, Last};
use super::{Error, Reason, Root, View};
use crate::domain::{HomePath, Layout, Mode, Placed};

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Number of the filesystem whose files cover what is hidden.
    cover: Option<u64>,
    /// By device and inode, the directories that only lead to grants, and the names in each.
    ways: BTreeMap<(u64, u64), BTreeSet<Vec<u8>>>,
    /// Where one grant lies in another.
    pub(super) parts: Parts,
    /// Where links lead that were made for the host's paths.
    aliases: Vec<Alias>,
    /// Grants that only take uploads; `None` when there are none.
    pub(super) drop_boxes: Option<DropBoxes>,
}

/// A grant's path on the host, and in the view; both absolute.
#[derive(Debug)]
struct Alias {
    host: String,
    view: String,
}

impl Overlay {
    /// Looks through a view whose directories are attached at `root`.
    pub(super) fn of(root: &Root, view: &View<'_>) -> Result<Overlay, Error> {
        let View { home, layout, cover, login } = *view;
        let outermost = || layout.placed.iter().filter(|p| !p.nested);
        let mut ways = BTreeMap::new();
        for (directory, names) in ways_to(outermost().map(|p| p.at.as_str())) {
            let stat = rustix::fs::fstat(root.stand_in(directory.as_bytes(), Last::NotFollowed)?)?;
            ways.insert((stat.st_dev, stat.st_ino), names);
        }
        let aliases = outermost().map(|p| Alias::of(home, p)).filter(|a| a.host != a.view).collect();
        let drop_boxes = DropBoxes::at(root, &mounts_of_drop_boxes(layout), login)?;
        Ok(Overlay { cover, ways, parts: Parts::of(root, layout)?, aliases, drop_boxes })
    }

    /// Whether anything is hidden at all.
    pub(super) fn hides_something(&self) -> bool {
        self.cover.is_some()
    }

    /// Whether a file is one that covers what is hidden.
    pub(super) fn is_cover(&self, device: u64) -> bool {
        self.cover == Some(device)
    }

    /// Whether a name is one of something hidden.
    pub(super) fn hides(&self, at: &At) -> Result<bool, Error> {
        if !self.hides_something() {
            return Ok(false);
        }
        let stat = rustix::fs::statat(&at.parent, at.name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(self.is_cover(stat.st_dev))
    }

    /// Fails for what covers something hidden: there is nothing by that name.
    pub(super) fn check_shown(&self, file: impl AsFd) -> Result<(), Error> {
        if self.hides_something() && self.is_cover(rustix::fs::fstat(file)?.st_dev) {
            return Err(Error::new(Reason::NotFound));
        }
        Ok(())
    }

    /// The names in a directory that only leads to grants.
    pub(super) fn names_in(&self, directory: impl AsFd) -> Result<Option<&BTreeSet<Vec<u8>>>, Error> {
        if self.ways.is_empty() {
            return Ok(None);
        }
        let stat = rustix::fs::fstat(directory)?;
        Ok(self.ways.get(&(stat.st_dev, stat.st_ino)))
    }

    /// Whether a path of the host may be another than the view's.
    pub(super) fn has_aliases(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// Where the view shows an absolute path of the host.
    pub(super) fn in_view(&self, target: &[u8]) -> Option<Vec<u8>> {
        self.aliases.iter().find_map(|alias| {
            let rest = target.strip_prefix(alias.host.as_bytes())?;
            let ends = rest.is_empty() || rest.starts_with(b"/");
            ends.then(|| [alias.view.as_bytes(), rest].concat())
        })
    }
}

impl Alias {
    fn of(home: &HomePath, placed: &Placed) -> Alias {
        let host = home.components().chain(placed.grant.path.components());
        Alias { host: host.flat_map(|part| ["/", part]).collect(), view: format!("/{}", placed.at) }
    }
}

/// The directories that lead to `places`, from the view itself (empty) on, with the names in each.
fn ways_to<'a>(places: impl Iterator<Item = &'a str>) -> BTreeMap<String, BTreeSet<Vec<u8>>> {
    let mut ways: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for place in places {
        let mut directory = String::new();
        for part in place.split('/').filter(|part| !part.is_empty()) {
            ways.entry(directory.clone()).or_default().insert(part.as_bytes().to_vec());
            if !directory.is_empty() {
                directory.push('/');
            }
            directory.push_str(part);
        }
    }
    ways
}

/// Where the mounts of drop boxes are attached: at their own places, and at those on the way to what is nested in one.
fn mounts_of_drop_boxes(layout: &Layout) -> BTreeSet<String> {
    let parts = |at: &str| at.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let places: Vec<(Vec<String>, Mode)> = layout.placed.iter().map(|p| (parts(&p.at), p.grant.mode)).collect();
    let is_drop_box = |place: &[String]| {
        let around = places.iter().filter(|(at, _)| place.starts_with(at));
        around.max_by_key(|(at, _)| at.len()).is_some_and(|(_, mode)| *mode == Mode::Upload)
    };
    let on_the_way = places.iter().flat_map(|(at, _)| (0..=at.len()).filter_map(|end| at.get(..end)));
    on_the_way.filter(|place| is_drop_box(place)).map(|place| place.join("/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{self, Grant, GrantId};

    #[test]
    fn every_directory_on_the_way_has_its_names() {
        let ways = ways_to(["srv/acme/www", "srv/acme/logs", "srv/b"].into_iter());
        let names = |directory: &str| {
            ways.get(directory).map(|names| names.iter().map(|n| String::from_utf8_lossy(n)).collect::<Vec<_>>())
        };
        assert_eq!(names("").expect("the root"), ["srv"]);
        assert_eq!(names("srv").expect("a way"), ["acme", "b"]);
        assert_eq!(names("srv/acme").expect("a way"), ["logs", "www"]);
        assert!(names("srv/acme/www").is_none() && ways_to([""].into_iter()).is_empty());
    }

    #[test]
    fn what_leads_through_a_drop_box_belongs_to_it() {
        let grant =
            |path: &str, mode| Grant { id: GrantId(1), path: path.parse().expect("a path"), mode, no_exec: false };
        let grants = [grant("in", Mode::Upload), grant("in/a/b/public", Mode::Ro), grant("logs", Mode::Ro)];
        let home = "/srv/acme".parse().expect("a path");
        let places = |grants: &[Grant]| {
            let layout = Layout::of(domain::View::Rooted, &home, grants).expect("a view");
            mounts_of_drop_boxes(&layout).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(places(&grants), ["in", "in/a", "in/a/b"]);
        assert_eq!(places(&grants[..1]), [""]);
        assert!(places(&grants[2..]).is_empty());
    }

    #[test]
    fn a_path_of_the_host_is_found_in_the_view() {
        let alias = |host: &str, view: &str| Alias { host: host.into(), view: view.into() };
        let aliases = vec![alias("/srv/acme/www", "/www"), alias("/srv/acme/www2", "/www2")];
        let overlay = Overlay { aliases, ..Overlay::default() };
        let shown = |target: &str| overlay.in_view(target.as_bytes()).map(|v| String::from_utf8_lossy(&v).into_owned());
        assert_eq!(shown("/srv/acme/www/releases/3").as_deref(), Some("/www/releases/3"));
        assert_eq!(shown("/srv/acme/www2").as_deref(), Some("/www2"));
        assert_eq!(shown("/srv/acme/www3/x"), None);
        assert_eq!(shown("srv/acme/www"), None);
    }
}
