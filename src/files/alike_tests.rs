//! To the one who uploads, a server that shows files when they are whole looks like one that writes in place: the same
//! random requests are done in both ways, and every answer has to be the same, as have the trees when all is closed.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use crate::domain::{UploadPolicy, Uploads};
use crate::files::{Access, Change, Creation, Error, File, Opening, Reason, Root};

const NAMES: [&str; 8] = ["a", "b", "d/a", "d/b", "link", "e/link", "d", "e"];
const HANDLES: usize = 4;

#[derive(Clone, Debug)]
enum Request {
    Put(usize, usize),
    Resume(usize, usize),
    Lock(usize),
    Write(usize, u64, u8),
    Resize(usize, u64),
    Close(usize),
    Sync(usize),
    Stat(usize),
    Read(usize),
    List(usize),
    Mode(usize, u32),
    Cut(usize, u64),
    Remove(usize),
    RemoveDirectory(usize),
    MakeDirectory(usize),
    Link(usize, usize),
    HardLink(usize, usize),
    RenameNew(usize, usize),
    RenameOver(usize, usize),
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    use Request::*;
    let (name, handle) = (0..NAMES.len(), 0..HANDLES);
    let one = prop_oneof![
        6 => (handle.clone(), name.clone()).prop_map(|(h, n)| Put(h, n)),
        3 => (handle.clone(), name.clone()).prop_map(|(h, n)| Resume(h, n)),
        1 => name.clone().prop_map(Lock),
        8 => (handle.clone(), 0..20_u64, 1..20_u8).prop_map(|(h, at, n)| Write(h, at, n)),
        1 => (handle.clone(), 0..20_u64).prop_map(|(h, size)| Resize(h, size)),
        4 => handle.clone().prop_map(Close),
        1 => handle.prop_map(Sync),
        4 => name.clone().prop_map(Stat),
        2 => name.clone().prop_map(Read),
        2 => name.clone().prop_map(List),
        1 => (name.clone(), 0o600..0o777_u32).prop_map(|(n, mode)| Mode(n, mode)),
        1 => (name.clone(), 0..20_u64).prop_map(|(n, size)| Cut(n, size)),
        2 => name.clone().prop_map(Remove),
        1 => name.clone().prop_map(RemoveDirectory),
        1 => name.clone().prop_map(MakeDirectory),
        1 => (name.clone(), name.clone()).prop_map(|(a, b)| Link(a, b)),
        1 => (name.clone(), name.clone()).prop_map(|(a, b)| HardLink(a, b)),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| RenameNew(a, b)),
        2 => (name.clone(), name).prop_map(|(a, b)| RenameOver(a, b)),
    ];
    prop::collection::vec(one, 1..60)
}

const PUT: Opening =
    Opening { access: Access::Both, creation: Creation::IfMissing, truncate: true, append: false, mode: 0o644 };

/// One connection and its handles.
struct Side {
    directory: tempfile::TempDir,
    root: Root,
    handles: [Option<File>; HANDLES],
}

fn said<T>(result: Result<T, Error>, show: impl Fn(T) -> String) -> String {
    match result {
        Ok(value) => show(value),
        // Clients read the same code for both, and what is on its way is not there for the kernel.
        Err(error) if error.reason == Reason::NotDirectory => format!("{:?}", Reason::NotFound),
        Err(error) => format!("{:?}", error.reason),
    }
}

fn done<T>(result: Result<T, Error>) -> String {
    said(result, |_| "done".to_owned())
}

fn path(name: usize) -> &'static [u8] {
    NAMES.get(name).copied().unwrap_or("a").as_bytes()
}

impl Side {
    fn new(uploads: Uploads) -> Side {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["d", "e"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        std::os::unix::fs::symlink("d/a", directory.path().join("link")).expect("a link");
        std::os::unix::fs::symlink("/b", directory.path().join("e/link")).expect("a link");
        std::fs::write(directory.path().join("d/b"), "from before").expect("a file");
        let policy = UploadPolicy { uploads, ..UploadPolicy::default() };
        let root = Root::open(directory.path()).expect("the root").under(&policy);
        Side { directory, root, handles: Default::default() }
    }

    fn handle(&self, handle: usize) -> Option<&File> {
        self.handles.get(handle).and_then(Option::as_ref)
    }

    /// Whether a name leads to what one of the handles writes, in a server that writes in place. There two handles of a
    /// file write one file; with the other two uploads are two files.
    fn is_open(&self, name: usize) -> bool {
        let inode = |file: &File| rustix::fs::fstat(file).ok().map(|stat| stat.st_ino);
        let named = self.root.open_file(
            path(name),
            &Opening { access: Access::Read, creation: Creation::Never, truncate: false, ..PUT },
        );
        let Ok(named) = named else { return false };
        self.handles.iter().flatten().any(|open| inode(open) == inode(&named))
    }

    fn open(&mut self, handle: usize, name: usize, how: &Opening) -> String {
        let opened = self.root.open_file(path(name), how);
        let answer = said(opened.as_ref().map_err(|e| *e), |_| "opened".to_owned());
        if let (Ok(file), Some(place)) = (opened, self.handles.get_mut(handle)) {
            *place = Some(file);
        }
        answer
    }

    fn ask(&mut self, request: &Request) -> String {
        let root = &self.root;
        match *request {
            Request::Put(handle, name) => self.open(handle, name, &PUT),
            Request::Resume(handle, name) => self.open(handle, name, &Opening { truncate: false, ..PUT }),
            Request::Lock(name) => {
                let lock = Opening { creation: Creation::Always, ..PUT };
                done(root.open_file(path(name), &lock).and_then(File::close))
            }
            Request::Write(handle, at, length) => {
                let data = vec![length; usize::from(length)];
                self.handle(handle).map_or_else(String::new, |file| done(file.write_at(at, &data)))
            }
            Request::Resize(handle, size) => {
                let change = Change { size: Some(size), ..Change::default() };
                self.handle(handle).map_or_else(String::new, |file| done(file.change(&change)))
            }
            Request::Close(handle) => {
                self.handles.get_mut(handle).and_then(Option::take).map_or_else(String::new, |file| done(file.close()))
            }
            Request::Sync(handle) => self.handle(handle).map_or_else(String::new, |file| done(file.sync())),
            Request::Stat(name) => {
                let show = |a: crate::files::Attributes| {
                    format!("{:o} {} {}", a.mode, if a.is_directory() { 0 } else { a.size }, a.links)
                };
                said(root.stat(path(name)), show) + &said(root.lstat(path(name)), show)
            }
            Request::Read(name) => {
                let how = Opening { access: Access::Read, creation: Creation::Never, truncate: false, ..PUT };
                let mut content = Vec::new();
                let read = root.open_file(path(name), &how).and_then(|file| file.read_at(0, &mut content, 1000));
                said(read, |_| format!("{content:?}"))
            }
            Request::List(name) => said(root.list(path(name)), |mut listing| {
                let mut entries = BTreeMap::new();
                loop {
                    let part = listing.next_part().expect("a part");
                    if part.is_empty() {
                        return format!("{entries:?}");
                    }
                    let size = |a: crate::files::Attributes| if a.is_directory() { 0 } else { a.size };
                    entries.extend(part.into_iter().map(|e| {
                        (String::from_utf8_lossy(&e.name).into_owned(), (e.attributes.mode, size(e.attributes)))
                    }));
                }
            }),
            Request::Mode(name, mode) => {
                done(root.change(path(name), &Change { mode: Some(mode), ..Change::default() }))
            }
            Request::Cut(name, size) => {
                done(root.change(path(name), &Change { size: Some(size), ..Change::default() }))
            }
            Request::Remove(name) => done(root.remove_file(path(name))),
            Request::RemoveDirectory(name) => done(root.remove_directory(path(name))),
            Request::MakeDirectory(name) => done(root.make_directory(path(name), 0o755)),
            Request::Link(target, name) => done(root.make_link(path(target), path(name))),
            Request::HardLink(from, to) => done(root.hard_link(path(from), path(to))),
            Request::RenameNew(from, to) => done(root.rename_new(path(from), path(to))),
            Request::RenameOver(from, to) => done(root.rename_over(path(from), path(to))),
        }
    }

    /// Everything on disk.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        look(self.directory.path(), self.directory.path(), &mut found);
        found
    }
}

fn look(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        let name = path.strip_prefix(root).expect("inside").display().to_string();
        let shown = if kind.is_symlink() {
            format!("{:?}", std::fs::read_link(&path))
        } else if kind.is_dir() {
            look(root, &path, found);
            "directory".to_owned()
        } else {
            let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().expect("its metadata").permissions());
            format!("{mode:o} {:?}", std::fs::read(&path))
        };
        found.insert(name, shown);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_that_shows_when_it_is_whole_looks_to_its_uploader_as_if_written_in_place(requests in requests()) {
        let (mut direct, mut atomic) = (Side::new(Uploads::Direct), Side::new(Uploads::Atomic));
        for request in &requests {
            let is_second = match *request {
                Request::Put(handle, name) => direct.handle(handle).is_some() || direct.is_open(name),
                Request::Resume(handle, _) => direct.handle(handle).is_some(),
                _ => false,
            };
            if !is_second {
                prop_assert_eq!(direct.ask(request), atomic.ask(request), "{:?}", request);
            }
        }
        for handle in 0..HANDLES {
            prop_assert_eq!(direct.ask(&Request::Close(handle)), atomic.ask(&Request::Close(handle)));
        }
        prop_assert_eq!(direct.tree(), atomic.tree());
    }
}

#[test]
fn what_is_on_its_way_has_its_name_already() {
    let mut side = Side::new(Uploads::Atomic);
    side.open(0, 0, &PUT);
    assert_eq!(side.root.make_directory(b"a", 0o755).expect_err("taken").reason, Reason::Exists);
}
