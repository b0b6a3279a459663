//! What of the host every shell cell shows: its programs, and those parts of `/etc` that programs need and that name no
//! neighbour.

/// Directories of the root that hold programs and their libraries. On most hosts all but the first are links into it.
pub(super) const PROGRAMS: &[&str] = &["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Directories of `/etc` that are shown as they are.
pub(super) const ETC_DIRECTORIES: &[&str] = &[
    "ImageMagick-6",
    "ImageMagick-7",
    "X11",
    "alternatives",
    "bash_completion.d",
    "ca-certificates",
    "fonts",
    "groff",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.conf.d",
    "maven",
    "perl",
    "php",
    "profile.d",
    "python3",
    "skel",
    "ssl",
    "terminfo",
    "vim",
    "xdg",
    "zsh",
];

/// Files of `/etc` that are copied when a template is made. Links are followed, so that none leads out of the cell.
pub(super) const ETC_FILES: &[&str] = &[
    "bash.bashrc",
    "ca-certificates.conf",
    "debian_version",
    "environment",
    "gai.conf",
    "gitconfig",
    "host.conf",
    "hosts",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "magic",
    "magic.mime",
    "manpath.config",
    "mime.types",
    "nanorc",
    "networks",
    "npmrc",
    "nsswitch.conf",
    "os-release",
    "pip.conf",
    "profile",
    "protocols",
    "resolv.conf",
    "rpc",
    "screenrc",
    "services",
    "shells",
    "timezone",
    "tmux.conf",
    "vconsole.conf",
    "wgetrc",
];

/// Files of `/etc` that each cell has of its own.
pub(super) const OWN_SETTINGS: &[&str] = &["passwd", "group", "hostname"];

/// Largest of them that is taken; a cache of libraries has some 100 KiB.
pub(super) const LARGEST_ETC_FILE: u64 = 4 * 1024 * 1024;

/// Devices that every program may have.
pub(super) const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Links in `/dev`, and where they lead.
pub(super) const DEVICE_LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Files of `/proc` that tell of the host or of other tenants; they read as empty.
pub(super) const MASKED_FILES: &[&str] = &[
    "keys",
    "key-users",
    "kallsyms",
    "config.gz",
    "timer_list",
    "sysrq-trigger",
    "kcore",
    "kmsg",
    "sched_debug",
    "cmdline",
    "latency_stats",
];

/// Directories of `/proc` for the same reason.
pub(super) const MASKED_DIRECTORIES: &[&str] = &["acpi", "scsi", "fs", "bus", "irq"];
