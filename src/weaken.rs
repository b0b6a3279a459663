//! Layers of confinement that can be left out, one by one, to show that the attacks of the tests notice.
//!
//! In no build that is for use: with the feature `weaken` alone, which only `tests/e2e/escapes/layers.rs` builds. Whoever
//! starts such a server says in `ENCLOS_WEAKEN` which layers it does without. Each is asked for at the place where it is
//! built, by a line behind `cfg(feature = "weaken")`. The tests read this list too.

/// Writes the list once: the layers, and their names.
macro_rules! layers {
    ($($(#[doc = $doc:literal])+ $layer:ident = $name:literal,)+) => {
        /// One thing that keeps somebody from something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Layer {
            $($(#[doc = $doc])+ $layer,)+
        }

        impl Layer {
            /// All of them.
            pub const ALL: &[Layer] = &[$(Layer::$layer,)+];

            /// As it is named in `ENCLOS_WEAKEN`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Layer::$layer => $name,)+
                }
            }

            /// What it does.
            pub fn text(self) -> &'static str {
                match self {
                    $(Layer::$layer => concat!($($doc),+),)+
                }
            }
        }
    };
}

layers! {
    /// The granted directory is attached, and not the account around it.
    GrantedPath = "granted-path",
    /// A grant for reading is a read-only mount.
    ReadOnlyMount = "read-only-mount",
    /// What is hidden has a cover mounted over it.
    Covers = "covers",
    /// No set-id bit counts on any mount.
    NoSetId = "no-set-id",
    /// No device opens on any mount.
    NoDevices = "no-devices",
    /// Programs of a grant without them are not executed.
    NoExec = "no-exec",
    /// A session's root is empty.
    EmptyRoot = "empty-root",
    /// A shell cell's root has the host's programs and nothing else of the host.
    OwnRoot = "own-root",
    /// Nothing can be written in a cell's root.
    ReadOnlyRoot = "read-only-root",
    /// Names of clients are resolved beneath the view.
    Beneath = "beneath",
    /// Landlock over a session's view.
    SessionLandlock = "session-landlock",
    /// Landlock over a shell cell.
    ShellLandlock = "shell-landlock",
    /// The list of system calls that a session may make.
    SessionSeccomp = "session-seccomp",
    /// The list of system calls that programs may not make.
    ShellSeccomp = "shell-seccomp",
    /// Ids and capabilities of root are given up.
    Privileges = "privileges",
    /// A cell has an id of its own, and not the account's.
    OwnUid = "own-uid",
    /// Own processes.
    PidNamespace = "pid-namespace",
    /// Own shared memory and queues.
    IpcNamespace = "ipc-namespace",
    /// Own network.
    NetNamespace = "net-namespace",
    /// `/proc` shows a user its own processes alone.
    HiddenProcesses = "hidden-processes",
    /// What in `/proc` tells of the host is covered.
    MaskedProc = "masked-proc",
    /// Processes, descriptors and core dumps are limited.
    Limits = "limits",
    /// A session keeps no descriptor but its channel.
    Descriptors = "descriptors",
    /// Permissions are those of 0777.
    PlainModes = "plain-modes",
    /// Nothing but files and directories is opened.
    RegularFiles = "regular-files",
    /// In a drop box everybody sees their own files.
    DropBoxes = "drop-boxes",
    /// A client sets harmless variables alone.
    Variables = "variables",
    /// A session asks for programs that its user may run.
    AskedPrograms = "asked-programs",
    /// A worker starts programs that its user may run.
    StartedPrograms = "started-programs",
    /// Forwards lead where policy says.
    Permits = "permits",
}

/// Whether a layer is to be left out.
pub fn off(layer: Layer) -> bool {
    std::env::var("ENCLOS_WEAKEN").is_ok_and(|list| list.split(',').any(|name| name == layer.as_str()))
}
