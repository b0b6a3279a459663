//! The layers of a cell by name: for `require` in the configuration, for `doctor`, and for what a start prints.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One mechanism of the kernel that keeps a session in its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Layer {
    /// Own mount namespace over an empty root.
    MountNamespace,
    /// Own process identifiers; the session is number 1 and everything ends with it.
    PidNamespace,
    /// Own System V and POSIX message queues.
    IpcNamespace,
    /// Own host name.
    UtsNamespace,
    /// Own network namespace: the session has the socket of its client and can reach nothing else.
    NetNamespace,
    /// A user id that no other connection, account or service has.
    OwnUid,
    /// Grants through idmapped mounts, so that files on disk are the account's.
    IdmappedMounts,
    /// No capability, none to be gained (`no_new_privs`).
    NoCapabilities,
    /// Landlock rules over the attached grants, with TCP and scopes closed.
    Landlock,
    /// The list of system calls that a session may make.
    Seccomp,
    /// Programs in a cell find nothing but what was granted, and none of the calls that build or open other worlds.
    Programs,
    /// A bound on the memory of a cell's programs.
    MemoryLimit,
    /// A bound on their number, that no other cell can use up.
    ProcessLimit,
    /// A bound on their processor time.
    CpuLimit,
}

impl Layer {
    /// Every layer, in the order in which they are shown.
    pub const ALL: [Layer; 14] = [
        Layer::MountNamespace,
        Layer::PidNamespace,
        Layer::IpcNamespace,
        Layer::UtsNamespace,
        Layer::NetNamespace,
        Layer::OwnUid,
        Layer::IdmappedMounts,
        Layer::NoCapabilities,
        Layer::Landlock,
        Layer::Seccomp,
        Layer::Programs,
        Layer::MemoryLimit,
        Layer::ProcessLimit,
        Layer::CpuLimit,
    ];

    /// As written in the configuration and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::MountNamespace => "mount-namespace",
            Layer::PidNamespace => "pid-namespace",
            Layer::IpcNamespace => "ipc-namespace",
            Layer::UtsNamespace => "uts-namespace",
            Layer::NetNamespace => "net-namespace",
            Layer::OwnUid => "own-uid",
            Layer::IdmappedMounts => "idmapped-mounts",
            Layer::NoCapabilities => "no-capabilities",
            Layer::Landlock => "landlock",
            Layer::Seccomp => "seccomp",
            Layer::Programs => "programs",
            Layer::MemoryLimit => "memory-limit",
            Layer::ProcessLimit => "process-limit",
            Layer::CpuLimit => "cpu-limit",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether one layer holds on this host, as found by building a cell and looking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Which.
    pub layer: Layer,
    /// Why it does not hold; `None` when it does.
    pub missing: Option<String>,
}

/// A layer we do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layer {text:?} is not known; the layers are {}", Layer::ALL.map(Layer::as_str).join(", "))]
pub struct UnknownLayer {
    text: String,
}

impl std::str::FromStr for Layer {
    type Err = UnknownLayer;

    fn from_str(text: &str) -> Result<Self, UnknownLayer> {
        let known = Layer::ALL.into_iter().find(|l| l.as_str() == text);
        known.ok_or_else(|| UnknownLayer { text: text.to_owned() })
    }
}

by_text!(UnknownLayer: Layer);
