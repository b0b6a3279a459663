//! Random requests: mostly sensible ones over few names, so that they meet one another, with odd ones between.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::packet::{Part, Request, text};

/// Places for handles. The last is always one that was never given out.
pub(crate) const HANDLES: usize = 6;
pub(crate) const FORGED: usize = HANDLES;

/// Makes requests one after the other.
pub(crate) struct Program {
    random: StdRng,
}

type Make = fn(&mut Program) -> Request;

/// How often each request is made.
const WEIGHTS: &[(u32, Make)] = &[
    (16, Program::open),
    (3, Program::close),
    (10, Program::read),
    (12, Program::write),
    (6, Program::lstat),
    (6, Program::stat),
    (4, Program::fstat),
    (6, Program::setstat),
    (4, Program::fsetstat),
    (4, Program::opendir),
    (6, Program::readdir),
    (4, Program::remove),
    (6, Program::mkdir),
    (3, Program::rmdir),
    (5, Program::realpath),
    (5, Program::rename),
    (3, Program::readlink),
    (5, Program::symlink),
    (4, Program::posix_rename),
    (3, Program::hardlink),
    (1, Program::statvfs),
    (1, Program::fstatvfs),
    (1, Program::fsync),
    (4, Program::lsetstat),
    (1, Program::limits),
    (3, Program::expand_path),
    (5, Program::copy_data),
    (1, Program::home_directory),
    (1, Program::users_groups_by_id),
    (1, Program::unknown),
];

const NAMES: &[&[u8]] = &[b"a", b"b", b"c", b"d", b"closed", b"secret", b"theirs", b"x y", b"\xff\xfe", b"new\nline"];

impl Program {
    pub(crate) fn new(random: StdRng) -> Program {
        Program { random }
    }

    pub(crate) fn next(&mut self) -> Request {
        let all: u32 = WEIGHTS.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(all);
        for (weight, make) in WEIGHTS {
            match left.checked_sub(*weight) {
                None => return make(self),
                Some(rest) => left = rest,
            }
        }
        unreachable!("the weights add up")
    }

    /// Where the next handle is kept.
    pub(crate) fn place(&mut self) -> usize {
        self.below(HANDLES as u32) as usize
    }

    fn below(&mut self, end: u32) -> u32 {
        self.random.random_range(0..end)
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    fn name(&mut self) -> Vec<u8> {
        match self.below(60) {
            0 => vec![b'n'; 255],
            1 => vec![b'n'; 256],
            2..4 => b"loop".to_vec(),
            4..6 => b"socket".to_vec(),
            6..10 => b"..".to_vec(),
            10..13 => b".".to_vec(),
            _ => {
                // The first of the names are the usual ones.
                let most = if self.one_in(3) { NAMES.len() } else { 4 };
                NAMES[self.below(most as u32) as usize].to_vec()
            }
        }
    }

    /// Absolute or not, with one to four names.
    fn path(&mut self) -> Vec<u8> {
        match self.below(150) {
            0 => return Vec::new(),
            1 => return b"/".to_vec(),
            2 => return b"a/".repeat(2_500),
            3 => return [b"./".repeat(2_046), b"ab".to_vec()].concat(),
            _ => {}
        }
        let mut path = if self.one_in(2) { b"/".to_vec() } else { Vec::new() };
        let depth = self.pick(&[1, 1, 1, 2, 2, 3, 4]);
        for at in 0..depth {
            if at > 0 {
                path.push(b'/');
            }
            path.extend(self.name());
        }
        if self.one_in(20) {
            path.extend(self.pick(&[&b"/"[..], b"//", b"/.", b"/.."]));
        }
        path
    }

    fn handle(&mut self) -> Part {
        Part::Handle(if self.one_in(40) { FORGED } else { self.place() })
    }

    fn offset(&mut self) -> u64 {
        match self.below(40) {
            0 => self.pick(&[1 << 31, 1 << 32, 1 << 40]),
            1 => self.pick(&[i64::MAX as u64, 1 << 63, u64::MAX]),
            2..12 => u64::from(self.below(300_000)),
            _ => u64::from(self.below(200)),
        }
    }

    /// ATTRS with whatever parts.
    fn attributes(&mut self) -> Vec<u8> {
        let mut flags = 0;
        let mut body = Vec::new();
        if self.one_in(4) {
            flags |= 1;
            let size =
                if self.one_in(30) { self.pick(&[1 << 40, 1 << 63, u64::MAX]) } else { self.below(5_000).into() };
            body.extend(size.to_be_bytes());
        }
        if self.one_in(8) {
            flags |= 2;
            let own = super::sides::USER;
            let ids = [own, own, own, u32::MAX, 0, 1];
            for _ in 0..2 {
                body.extend(self.pick(&ids).to_be_bytes());
            }
        }
        let has_times = self.one_in(4);
        if self.one_in(2) {
            // A mode that closes a directory may close the way to what else is to be changed, where that goes by its path.
            let modes = [0o755, 0o777, 0o700, 0o4755, 0o2770, 0o1777, 0o644, 0o600, 0o444, 0o100_640, 0];
            let usable = if flags & 2 != 0 || has_times { 6 } else { modes.len() };
            flags |= 4;
            body.extend(u32::to_be_bytes(self.pick(&modes[..usable])));
        }
        if has_times {
            flags |= 8;
            for _ in 0..2 {
                let at = self.pick(&[0, 1, 1_000_000_000, i32::MAX as u32, 1 << 31, u32::MAX]);
                body.extend(at.to_be_bytes());
            }
        }
        if self.one_in(30) {
            flags |= 0x8000_0000;
            body.extend([&1_u32.to_be_bytes()[..], &text(b"name@example.com"), &text(b"value")].concat());
        }
        [&u32::to_be_bytes(flags)[..], &body].concat()
    }

    fn of_path(&mut self, name: &'static str, kind: u8) -> Request {
        Request { name, kind, parts: vec![Part::Bytes(text(&self.path()))] }
    }

    fn of_path_and_attributes(&mut self, name: &'static str, kind: u8) -> Request {
        let parts = vec![Part::Bytes(text(&self.path())), Part::Bytes(self.attributes())];
        Request { name, kind, parts }
    }

    fn of_handle(&mut self, name: &'static str, kind: u8) -> Request {
        Request { name, kind, parts: vec![self.handle()] }
    }

    fn of_two(&mut self, name: &'static str, kind: u8) -> Request {
        let parts = vec![Part::Bytes(text(&self.path())), Part::Bytes(text(&self.path()))];
        Request { name, kind, parts }
    }

    fn extended(name: &'static str, mut parts: Vec<Part>) -> Request {
        parts.insert(0, Part::Bytes(text(name.as_bytes())));
        Request { name, kind: 200, parts }
    }

    fn open(&mut self) -> Request {
        let flags = if self.one_in(3) { self.below(64) } else { self.pick(&[1, 2, 3, 0x1a, 0x0b, 0x0e]) };
        let parts = [text(&self.path()), flags.to_be_bytes().to_vec(), self.attributes()];
        Request { name: "OPEN", kind: 3, parts: parts.map(Part::Bytes).to_vec() }
    }

    fn close(&mut self) -> Request {
        self.of_handle("CLOSE", 4)
    }

    fn read(&mut self) -> Request {
        let handle = self.handle();
        let length = self.pick(&[0, 1, 100, 4_096, 32_768, 261_120, 261_121, u32::MAX]);
        let numbers = [&self.offset().to_be_bytes()[..], &length.to_be_bytes()].concat();
        Request { name: "READ", kind: 5, parts: vec![handle, Part::Bytes(numbers)] }
    }

    fn write(&mut self) -> Request {
        let handle = self.handle();
        let length = if self.one_in(20) { self.pick(&[0, 32_768, 261_120]) } else { self.below(300) };
        let mut data = vec![0; length as usize];
        self.random.fill_bytes(&mut data);
        let body = [&self.offset().to_be_bytes()[..], &text(&data)].concat();
        Request { name: "WRITE", kind: 6, parts: vec![handle, Part::Bytes(body)] }
    }

    fn lstat(&mut self) -> Request {
        self.of_path("LSTAT", 7)
    }

    fn stat(&mut self) -> Request {
        self.of_path("STAT", 17)
    }

    fn fstat(&mut self) -> Request {
        self.of_handle("FSTAT", 8)
    }

    fn setstat(&mut self) -> Request {
        self.of_path_and_attributes("SETSTAT", 9)
    }

    fn fsetstat(&mut self) -> Request {
        let parts = vec![self.handle(), Part::Bytes(self.attributes())];
        Request { name: "FSETSTAT", kind: 10, parts }
    }

    fn opendir(&mut self) -> Request {
        self.of_path("OPENDIR", 11)
    }

    fn readdir(&mut self) -> Request {
        self.of_handle("READDIR", 12)
    }

    fn remove(&mut self) -> Request {
        self.of_path("REMOVE", 13)
    }

    fn mkdir(&mut self) -> Request {
        self.of_path_and_attributes("MKDIR", 14)
    }

    fn rmdir(&mut self) -> Request {
        self.of_path("RMDIR", 15)
    }

    fn realpath(&mut self) -> Request {
        self.of_path("REALPATH", 16)
    }

    fn rename(&mut self) -> Request {
        self.of_two("RENAME", 18)
    }

    fn readlink(&mut self) -> Request {
        self.of_path("READLINK", 19)
    }

    fn symlink(&mut self) -> Request {
        self.of_two("SYMLINK", 20)
    }

    fn posix_rename(&mut self) -> Request {
        let two = self.of_two("", 200);
        Program::extended("posix-rename@openssh.com", two.parts)
    }

    fn hardlink(&mut self) -> Request {
        let two = self.of_two("", 200);
        Program::extended("hardlink@openssh.com", two.parts)
    }

    fn statvfs(&mut self) -> Request {
        let path = self.of_path("", 200);
        Program::extended("statvfs@openssh.com", path.parts)
    }

    fn fstatvfs(&mut self) -> Request {
        let parts = vec![self.handle()];
        Program::extended("fstatvfs@openssh.com", parts)
    }

    fn fsync(&mut self) -> Request {
        let parts = vec![self.handle()];
        Program::extended("fsync@openssh.com", parts)
    }

    fn lsetstat(&mut self) -> Request {
        let path = self.of_path_and_attributes("", 200);
        Program::extended("lsetstat@openssh.com", path.parts)
    }

    fn limits(&mut self) -> Request {
        Program::extended("limits@openssh.com", Vec::new())
    }

    fn expand_path(&mut self) -> Request {
        let path = self.path();
        let path = match self.below(6) {
            0 => self.pick(&[&b"~"[..], b"~bob", b"~alice"]).to_vec(),
            1 => [&b"~/"[..], &path].concat(),
            2 => [self.pick(&[&b"~bob/"[..], b"~bob//", b"~alice/"]), &path].concat(),
            _ => path,
        };
        Program::extended("expand-path@openssh.com", vec![Part::Bytes(text(&path))])
    }

    /// Always with a length: without one, a copy within one file that two handles are open on never ends in OpenSSH's.
    fn copy_data(&mut self) -> Request {
        let (from, to) = (self.handle(), self.handle());
        let length = if self.one_in(10) { 300_000 } else { u64::from(1 + self.below(150)) };
        let source = [self.offset().to_be_bytes(), length.to_be_bytes()].concat();
        let target = self.offset().to_be_bytes().to_vec();
        Program::extended("copy-data", vec![from, Part::Bytes(source), to, Part::Bytes(target)])
    }

    fn home_directory(&mut self) -> Request {
        let user = self.pick(&[&b"bob"[..], b"alice"]);
        Program::extended("home-directory", vec![Part::Bytes(text(user))])
    }

    fn users_groups_by_id(&mut self) -> Request {
        let ids = |of: &[u32]| Part::Bytes(text(&of.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<_>>()));
        const OWN: u32 = super::sides::USER;
        const SOME: [&[u32]; 4] = [&[OWN], &[], &[7, OWN, OWN], &[OWN, 9]];
        let (users, groups) = (self.pick(&SOME), self.pick(&SOME));
        Program::extended("users-groups-by-id@openssh.com", vec![ids(users), ids(groups)])
    }

    fn unknown(&mut self) -> Request {
        let path = self.of_path("", 200);
        Program::extended("no-such-extension@example.com", path.parts)
    }
}
