//! The documented schema: every kind of event and every field, from which `docs/audit.md` is made. A test holds it to what
//! is really written.

/// A kind of event.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// As in `kind`.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// Its own fields.
    pub fields: &'static [Field],
}

/// A field of an event: its name, its type (with `?` where it may be absent), and what it says.
pub type Field = (&'static str, &'static str, &'static str);

/// What every event has.
pub(super) const COMMON: &[Field] = &[
    ("version", "number", "version of this schema"),
    ("time", "time", "when the node heard of it: RFC 3339, in UTC, to the millisecond"),
    ("node", "text", "name of the node"),
    (
        "connection",
        "text?",
        "of the connection; unique over all nodes and restarts. It ends with the number that logs and `enclos session list` show",
    ),
    ("account", "text?", "the account, once somebody is in"),
    ("user", "text?", "the user, once somebody is in"),
    ("source", "text?", "address and port of the client"),
    ("credential", "object?", "`method` (as in `user set --login`), and of a key its `fingerprint` and `label`"),
    ("operator", "number?", "user id, on the node, of whoever changed policy"),
    ("kind", "text", "one of those below"),
];

const PATH: Field = ("path", "text", "its path");

/// Every kind there is.
pub const KINDS: &[Kind] = &[
    Kind { name: "node-started", says: "The node lets clients in.", fields: &[] },
    Kind {
        name: "node-stopped",
        says: "The node lets no more clients in: it stops, or another process takes over. Where it is missing before the next `node-started`, the node or its host failed.",
        fields: &[],
    },
    Kind { name: "login", says: "Somebody is in.", fields: &[] },
    Kind {
        name: "login-refused",
        says: "Somebody was not let in by what was shown.",
        fields: &[
            ("name", "text", "the login name as it was typed"),
            ("method", "text", "`publickey`, `password` or `totp`"),
            ("fingerprint", "text?", "of the key that was shown"),
            ("why", "text", "the reason, which the client is not told"),
        ],
    },
    Kind {
        name: "session-ended",
        says: "A connection with a login ended.",
        fields: &[
            ("seconds", "number", "how long it lasted"),
            (
                "why",
                "text",
                "`client`, `over` (its time was), `idle` (for too long), `revoked`, `banned`, `shutdown`, `killed` or `broken`",
            ),
        ],
    },
    Kind {
        name: "session-broken",
        says: "A process that serves a connection failed, or said what none of ours says, and was ended. Somebody has to look at it.",
        fields: &[("what", "text", "what it did")],
    },
    Kind {
        name: "refused",
        says: "A request was refused by policy.",
        fields: &[("what", "text", "what was asked for"), ("why", "text", "what the client was told")],
    },
    Kind { name: "protocol-error", says: "A client broke a rule of a protocol.", fields: &[("what", "text", "which")] },
    Kind { name: "sftp-opened", says: "A channel for SFTP was opened.", fields: &[] },
    Kind {
        name: "sftp-closed",
        says: "It was closed.",
        fields: &[("read", "number", "bytes read from files"), ("written", "number", "bytes written to files")],
    },
    Kind {
        name: "program-started",
        says: "A program was started.",
        fields: &[
            ("number", "number", "of the program on its connection"),
            ("program", "text", "`shell`, `command`, `direct` (rsync, git or scp, without a shell) or `forced`"),
            (
                "command",
                "text",
                "the command line as the client sent it, empty for a shell; of a forced command, what was asked for instead",
            ),
            ("terminal", "boolean", "whether it has a terminal"),
        ],
    },
    Kind {
        name: "program-ended",
        says: "It ended.",
        fields: &[
            ("number", "number", "as in `program-started`"),
            ("status", "number?", "its exit status"),
            ("signal", "text?", "the signal that ended it"),
        ],
    },
    Kind {
        name: "forward-opened",
        says: "A connection was made for the client.",
        fields: &[("to", "text", "host and port, or the path of a socket")],
    },
    Kind {
        name: "forward-listening",
        says: "It is listened somewhere for the client.",
        fields: &[("on", "text", "address and port, the path of a socket, or `agent`")],
    },
    Kind {
        name: "forward-accepted",
        says: "Somebody connected there, and the client took it.",
        fields: &[
            ("on", "text", "as in `forward-listening`"),
            ("from", "text", "address and port; empty for a socket"),
        ],
    },
    Kind {
        name: "file-written",
        says: "A file that was made, cut or written to was closed.",
        fields: &[
            PATH,
            ("bytes", "number", "how many bytes were written to it, through this opening of it"),
            (
                "created",
                "boolean?",
                "whether it was made by that; absent where the filesystem does not tell, and of atomic uploads",
            ),
            ("closed", "boolean", "false when the client went away before it closed it"),
        ],
    },
    Kind {
        name: "file-copied",
        says: "A file was copied on the server (`copy-file`).",
        fields: &[("path", "text", "the copy"), ("from", "text", "what was copied")],
    },
    Kind {
        name: "file-renamed",
        says: "A file or directory got another name. What had that name before is gone.",
        fields: &[("path", "text", "the old name"), ("to", "text", "the new name")],
    },
    Kind { name: "file-removed", says: "A file or link was removed.", fields: &[PATH] },
    Kind { name: "directory-created", says: "A directory was made.", fields: &[PATH] },
    Kind { name: "directory-removed", says: "An empty directory was removed.", fields: &[PATH] },
    Kind {
        name: "mode-changed",
        says: "Permissions were changed.",
        fields: &[PATH, ("mode", "text", "what the client asked for, octal; a policy may have made it another")],
    },
    Kind {
        name: "file-resized",
        says: "A file was cut or grown.",
        fields: &[PATH, ("size", "number", "its size now")],
    },
    Kind {
        name: "link-created",
        says: "A symbolic link was made.",
        fields: &[PATH, ("target", "text", "what it says")],
    },
    Kind {
        name: "name-added",
        says: "A file got one more name (a hard link).",
        fields: &[("path", "text", "the new name"), ("of", "text", "one that it had")],
    },
    Kind {
        name: "policy-changed",
        says: "An operator changed something.",
        fields: &[
            ("operation", "text", "which, by the name of the command: `user-set-status`, `key-add`, ..."),
            ("detail", "object", "what was said, without secrets"),
        ],
    },
    Kind {
        name: "lost",
        says: "So many events were not recorded, because more came than could be kept. Without an account they are of several connections.",
        fields: &[("count", "number", "how many")],
    },
];

/// The tables of `docs/audit.md`.
pub fn document() -> String {
    let mut text = String::new();
    table(&mut text, COMMON);
    for kind in KINDS {
        text.push_str(&format!("\n### {}\n\n{}\n", kind.name, kind.says));
        if !kind.fields.is_empty() {
            text.push('\n');
            table(&mut text, kind.fields);
        }
    }
    text
}

fn table(text: &mut String, fields: &[Field]) {
    text.push_str("| field | type | |\n|---|---|---|\n");
    for (name, kind, says) in fields {
        text.push_str(&format!("| `{name}` | {kind} | {says} |\n"));
    }
}
