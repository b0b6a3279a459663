//! What is compared, and the one list of where we mean to differ.

use std::time::{SystemTime, UNIX_EPOCH};

use super::packet::*;

/// A deliberate difference.
pub(crate) struct Difference {
    /// What a client meets.
    pub(crate) what: &'static str,
    pub(crate) openssh: &'static str,
    pub(crate) enclos: &'static str,
    pub(crate) why: &'static str,
    /// Whether it explains these answers (OpenSSH's first).
    pub(crate) explains: fn(&Request, &Reply, &Reply) -> bool,
    /// Whether the trees differ from then on, so that the round ends.
    pub(crate) parts: bool,
}

/// All of them.
pub(crate) const TABLE: &[Difference] = &[
    Difference {
        what: "OPEN of a directory",
        openssh: "a handle, whose READ fails",
        enclos: "FAILURE, \"this is a directory\"",
        why: "the client learns at once what is wrong",
        parts: false,
        explains: |request, one, two| {
            request.name == "OPEN" && matches!((one, two), (Reply::Handle(_), Reply::Status(FAILURE)))
        },
    },
    Difference {
        what: "CLOSE and `fsync@openssh.com` with a handle that is not open",
        openssh: "NO_SUCH_FILE",
        enclos: "FAILURE, \"this handle is not open, or not for this\"",
        why: "as every other request with such a handle, also OpenSSH's",
        parts: false,
        explains: |request, one, two| {
            matches!(request.name, "CLOSE" | "fsync@openssh.com")
                && (one, two) == (&Reply::Status(NO_SUCH_FILE), &Reply::Status(FAILURE))
        },
    },
    Difference {
        what: "READ or WRITE with a handle that was opened for the other",
        openssh: "NO_SUCH_FILE",
        enclos: "PERMISSION_DENIED, \"the file was not opened for this\"",
        why: "the file is there",
        parts: false,
        explains: |request, one, two| {
            matches!(request.name, "READ" | "WRITE" | "copy-data")
                && *two == Reply::Status(PERMISSION_DENIED)
                && matches!(one, Reply::Status(NO_SUCH_FILE | BAD_MESSAGE))
        },
    },
    Difference {
        what: "`copy-data` that fails in its last 64 KiB",
        openssh: "OK, or the end of the source before what is wrong with the target",
        enclos: "EOF where the source ended, otherwise what is wrong",
        why: "bytes that were not copied are told",
        parts: false,
        explains: |request, one, two| {
            request.name == "copy-data"
                && matches!(one, Reply::Status(OK | EOF))
                && matches!(two, Reply::Status(EOF | PERMISSION_DENIED))
        },
    },
    Difference {
        what: "two paths, one of them empty, both wrong",
        openssh: "the first that it or the kernel looks at",
        enclos: "NO_SUCH_FILE, for the empty one",
        why: "either is true",
        parts: false,
        explains: |request, one, two| {
            let is_empty = |part: &Part| matches!(part, Part::Bytes(bytes) if bytes == &[0; 4]);
            request.parts.iter().any(is_empty)
                && matches!(one, Reply::Status(PERMISSION_DENIED | BAD_MESSAGE))
                && *two == Reply::Status(NO_SUCH_FILE)
        },
    },
    Difference {
        what: "FSTAT and `fstatvfs@openssh.com` with the handle of a directory",
        openssh: "FAILURE",
        enclos: "its attributes",
        why: "the draft speaks of handles, not of files",
        parts: false,
        explains: |request, one, two| {
            matches!((request.name, one, two), ("FSTAT", Reply::Status(FAILURE), Reply::Attributes(_)))
                || matches!(
                    (request.name, one, two),
                    ("fstatvfs@openssh.com", Reply::Status(FAILURE), Reply::Extended(_))
                )
        },
    },
    Difference {
        what: "`..` in a listing",
        openssh: "attributes of the directory above",
        enclos: "attributes of the directory itself",
        why: "above the first directory lies nothing that is the user's business",
        parts: false,
        explains: |_, one, two| match (one, two) {
            (Reply::Names(one), Reply::Names(two)) => {
                let plain = |names: &[Name]| names.iter().filter(|n| n.name != b"..").cloned().collect::<Vec<_>>();
                one.len() == two.len() && plain(one) == plain(two)
            }
            _ => false,
        },
    },
    Difference {
        what: "setuid, setgid and sticky bits",
        openssh: "taken in OPEN, MKDIR and SETSTAT, and inherited",
        enclos: "left out",
        why: "files run as the account; nobody uploads a program that would not",
        parts: false,
        explains: |_, one, two| match (one, two) {
            (Reply::Attributes(one), Reply::Attributes(two)) => plain_mode(*one) == plain_mode(*two),
            (Reply::Names(one), Reply::Names(two)) => plain_modes(one) == plain_modes(two),
            _ => false,
        },
    },
    Difference {
        what: "RENAME onto a link that leads nowhere",
        openssh: "replaces it, or tries to",
        enclos: "FAILURE, \"a file or directory of that name exists already\"",
        why: "the draft: a name that is taken is an error",
        parts: true,
        explains: |request, one, two| {
            request.name == "RENAME"
                && *two == Reply::Status(FAILURE)
                && matches!(one, Reply::Status(OK | NO_SUCH_FILE | BAD_MESSAGE))
        },
    },
    Difference {
        what: "READDIR where names may be read but not looked at (mode `r--`)",
        openssh: "the end of the listing",
        enclos: "PERMISSION_DENIED",
        why: "the directory is not empty",
        parts: false,
        explains: |request, one, two| {
            request.name == "READDIR"
                && matches!(one, Reply::Status(EOF) | Reply::Names(_))
                && *two == Reply::Status(PERMISSION_DENIED)
        },
    },
    Difference {
        what: "SETSTAT of a size where there is no file",
        openssh: "BAD_MESSAGE",
        enclos: "FAILURE, \"this is a pipe, socket or device and cannot be opened\"; of nonsense what is wrong with the path",
        why: "the message is not what is wrong",
        parts: false,
        explains: |request, one, two| {
            request.name == "SETSTAT"
                && *one == Reply::Status(BAD_MESSAGE)
                && matches!(two, Reply::Status(FAILURE | NO_SUCH_FILE | PERMISSION_DENIED))
        },
    },
    Difference {
        what: "SETSTAT of the owner that a file has, by who is not the owner",
        openssh: "PERMISSION_DENIED",
        enclos: "OK",
        why: "nothing was to be changed; clients that copy owners along would fail",
        parts: false,
        explains: |request, one, two| {
            attribute_flags(request) & 0xf == 2 && (one, two) == (&Reply::Status(PERMISSION_DENIED), &Reply::Status(OK))
        },
    },
    Difference {
        what: "READ and WRITE of no bytes",
        openssh: "looks at the offset and not at the handle",
        enclos: "asks the kernel, as for any other number of bytes",
        why: "it knows",
        parts: false,
        explains: |request, one, two| {
            let nothing = &Reply::Data(Vec::new());
            request.name == "READ"
                && ((one, two) == (nothing, &Reply::Status(PERMISSION_DENIED))
                    || (one, two) == (&Reply::Status(BAD_MESSAGE), nothing))
                || request.name == "WRITE" && (one, two) == (&Reply::Status(BAD_MESSAGE), &Reply::Status(OK))
        },
    },
    Difference {
        what: "`copy-data` of a file onto itself",
        openssh: "compares the paths of the handles; version 10 also the files",
        enclos: "compares the files",
        why: "between two names of one file it may never end, and one name may be that of two files",
        parts: true,
        explains: |request, one, two| {
            request.name == "copy-data"
                && [one, two].iter().all(|reply| matches!(reply, Reply::Status(_)))
                && [one, two].contains(&&Reply::Status(FAILURE))
        },
    },
    Difference {
        what: "READDIR of a directory that was opened by a path of over 1,000 bytes",
        openssh: "attributes of the directory beside every name",
        enclos: "attributes of what has the name",
        why: "no path is cut, as none is put together",
        parts: false,
        explains: |request, one, two| match (one, two) {
            (Reply::Names(one), Reply::Names(two)) => {
                let names = |of: &[Name]| of.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
                let are_one = one.windows(2).all(|pair| pair[0].attributes == pair[1].attributes);
                request.name == "READDIR" && are_one && names(one) == names(two)
            }
            _ => false,
        },
    },
    Difference {
        what: "`home-directory` of somebody else",
        openssh: "FAILURE, unless the host knows them",
        enclos: "NO_SUCH_FILE, as `expand-path@openssh.com`",
        why: "nothing is told of others",
        parts: false,
        explains: |request, one, two| {
            request.name == "home-directory" && (one, two) == (&Reply::Status(FAILURE), &Reply::Status(NO_SUCH_FILE))
        },
    },
    Difference {
        what: "`expand-path@openssh.com` of `~user/` and a path over 4,095 bytes",
        openssh: "NO_SUCH_FILE",
        enclos: "BAD_MESSAGE, \"the name is too long: ...\"",
        why: "that is what is wrong",
        parts: false,
        explains: |request, one, two| {
            request.name == "expand-path@openssh.com"
                && (one, two) == (&Reply::Status(NO_SUCH_FILE), &Reply::Status(BAD_MESSAGE))
        },
    },
    Difference {
        what: "limits",
        openssh: "as many handles as its process may have descriptors",
        enclos: "1,000 handles",
        why: "what we hold to",
        parts: false,
        explains: |request, one, two| {
            let sizes = |reply: &Reply| match reply {
                Reply::Extended(body) => body.get(..24).map(<[u8]>::to_vec),
                _ => None,
            };
            request.name == "limits@openssh.com" && sizes(one).is_some() && sizes(one) == sizes(two)
        },
    },
];

/// Flags of the ATTRS in SETSTAT and its relatives.
fn attribute_flags(request: &Request) -> u32 {
    match (request.name, request.parts.last()) {
        ("SETSTAT" | "FSETSTAT" | "lsetstat@openssh.com", Some(Part::Bytes(bytes))) => Body(bytes).number(),
        _ => 0,
    }
}

/// Marks a time that lies about now, in whatever second.
const NOW: u32 = 0x4e4f_5721;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// A time as it is compared: the two servers do the same thing in different moments.
pub(crate) fn time(at: u32) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    if now.abs_diff(at.into()) < 3_600 { NOW } else { at }
}

/// An answer without what no two directories have in common. `proc` is a mount point for OpenSSH's server only.
pub(crate) fn comparable(request: &str, reply: Reply) -> Reply {
    match reply {
        Reply::Attributes(found) => Reply::Attributes(attributes(found)),
        Reply::Handle(_) => Reply::Handle(Vec::new()),
        Reply::Names(names) if request == "READDIR" => {
            let mut names: Vec<_> = names.into_iter().filter(|n| n.name != b"proc").map(entry).collect();
            names.sort();
            Reply::Names(names)
        }
        Reply::Extended(body) if request.contains("statvfs@") => Reply::Extended(space(&body)),
        other => other,
    }
}

fn plain_mode(found: Attributes) -> Attributes {
    Attributes { mode: found.mode & !0o7000, ..found }
}

/// Names and attributes without those bits, which the lines of `ls -l` show too, and without `..`.
fn plain_modes(names: &[Name]) -> Vec<(&[u8], Attributes)> {
    let others = names.iter().filter(|n| n.name != b"..");
    others.map(|n| (n.name.as_slice(), plain_mode(n.attributes))).collect()
}

fn attributes(found: Attributes) -> Attributes {
    let kind = found.mode & 0o170_000;
    Attributes {
        size: if kind == DIRECTORY { 0 } else { found.size },
        // When links and directories were last read says how a server finds its way.
        times: (if matches!(kind, LINK | DIRECTORY) { 0 } else { time(found.times.0) }, time(found.times.1)),
        ..found
    }
}

/// The line of `ls -l` without the size of a directory and a date about now.
fn entry(found: Name) -> Name {
    let attributes = attributes(found.attributes);
    let mut long = found.long;
    if attributes.times.1 == NOW {
        let date = long.len() - found.name.len() - 13;
        long[date..date + 12].fill(b'?');
    }
    if attributes.mode & 0o170_000 == DIRECTORY {
        let size = format!("{:>8} ", found.attributes.size).into_bytes();
        let at = long.windows(size.len()).position(|w| w == size).expect("the size");
        long.drain(at..at + size.len());
    }
    Name { name: found.name, long, attributes }
}

/// Sizes of blocks, files in all, longest name. What is free changes by itself.
fn space(body: &[u8]) -> Vec<u8> {
    let field = |at: usize| body[at * 8..at * 8 + 8].to_vec();
    [0, 1, 2, 5, 8, 10].map(field).concat()
}
