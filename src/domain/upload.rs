//! How what a user uploads is written: at once or when it is whole, with which permissions, under which names, how large.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ByteCount, NamePatterns};

/// What the names of uploads begin with that are not whole yet.
pub const UNFINISHED: &str = ".ht-enclos-upload.";

/// Whether a name is one of an upload that is not whole. Nobody may use it: it says to anybody which file is on its way.
pub fn is_unfinished(name: &[u8]) -> bool {
    name.starts_with(UNFINISHED.as_bytes())
}

/// When an upload of a whole file shows under its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uploads {
    /// From its first byte on, in place of what was there, as with OpenSSH.
    #[default]
    Direct,
    /// When it is whole; until then what was there stays.
    Atomic,
}

impl Uploads {
    /// As written in commands, JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Uploads::Direct => "direct",
            Uploads::Atomic => "atomic",
        }
    }
}

impl fmt::Display for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A way of writing uploads that we do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("uploads {text:?} is not known; use atomic or direct")]
pub struct UnknownUploads {
    text: String,
}

impl std::str::FromStr for Uploads {
    type Err = UnknownUploads;

    fn from_str(text: &str) -> Result<Self, UnknownUploads> {
        match text {
            "direct" => Ok(Uploads::Direct),
            "atomic" => Ok(Uploads::Atomic),
            _ => Err(UnknownUploads { text: text.chars().take(64).collect() }),
        }
    }
}

/// Why a text is no set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be a {what}: {rule}")]
pub struct BadMode {
    what: &'static str,
    rule: &'static str,
    text: String,
}

/// An octal number with no bit outside `most` and every bit of `least`.
fn octal(text: &str, most: u32, least: u32) -> Option<u32> {
    let is_octal = text.len() <= 5 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let bits = if is_octal { u32::from_str_radix(text, 8).ok()? } else { return None };
    (bits & !most == 0 && bits & least == least).then_some(bits)
}

macro_rules! mode {
    ($(#[$doc:meta])* $type:ident, $what:literal, $most:literal, $least:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(u32);

        impl $type {
            /// The bits, as in `st_mode`.
            pub fn bits(self) -> u32 {
                self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = BadMode;

            fn from_str(text: &str) -> Result<Self, BadMode> {
                let refused = || BadMode { what: $what, rule: $rule, text: text.chars().take(64).collect() };
                octal(text, $most, $least).map(Self).ok_or_else(refused)
            }
        }

        by_text!(BadMode: $type);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:04o}", self.0)
            }
        }
    };
}

mode! {
    /// Permissions that new files and directories never get.
    Umask, "umask", 0o777, 0, "use an octal number up to 0777, such as 0027"
}
mode! {
    /// Permissions that every file gets.
    FileMode, "file mode", 0o777, 0o400, "use an octal number up to 0777 that lets the owner read, such as 0644"
}
mode! {
    /// Permissions that every directory gets; with 2000, what is made in it belongs to its group.
    DirectoryMode, "directory mode", 0o2777, 0o700,
    "use an octal number up to 2777 that lets the owner do everything, such as 0755 or 2775"
}

/// How what a user uploads is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPolicy {
    /// When an upload shows.
    pub uploads: Uploads,
    /// Permissions that new files and directories never get; the node's unless said.
    pub umask: Option<Umask>,
    /// Permissions of every file, whatever the client asks for.
    pub file_mode: Option<FileMode>,
    /// Permissions of every directory, whatever the client asks for.
    pub directory_mode: Option<DirectoryMode>,
    /// Names that cannot be made, nor be written to.
    pub deny_names: NamePatterns,
    /// Size that no file can be written beyond.
    pub max_file_size: Option<ByteCount>,
}

impl UploadPolicy {
    /// Whether something that this allows is not allowed by `after`: a name, or a size.
    pub fn is_narrowed_by(&self, after: &UploadPolicy) -> bool {
        let most = |policy: &UploadPolicy| policy.max_file_size.map_or(u64::MAX, ByteCount::get);
        most(after) < most(self) || !self.deny_names.contain(&after.deny_names)
    }
}

/// What becomes of one setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setting<T> {
    /// It stays as it is.
    #[default]
    Kept,
    /// It is as if nothing was ever said about it.
    Unset,
    /// It becomes this.
    Set(T),
}

impl<T> Setting<T> {
    /// Makes the change.
    pub fn apply(self, to: &mut Option<T>) {
        match self {
            Setting::Kept => {}
            Setting::Unset => *to = None,
            Setting::Set(value) => *to = Some(value),
        }
    }

    /// The same setting of what a value comes to.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Setting<U> {
        match self {
            Setting::Kept => Setting::Kept,
            Setting::Unset => Setting::Unset,
            Setting::Set(value) => Setting::Set(of(value)),
        }
    }
}

/// What is to be changed of an [`UploadPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "names are those of the policy")]
pub struct UploadChange {
    pub uploads: Option<Uploads>,
    pub umask: Setting<Umask>,
    pub file_mode: Setting<FileMode>,
    pub directory_mode: Setting<DirectoryMode>,
    pub deny_names: Option<NamePatterns>,
    pub max_file_size: Setting<ByteCount>,
}

impl UploadChange {
    /// The policy with the change made.
    #[must_use]
    pub fn apply(self, mut policy: UploadPolicy) -> UploadPolicy {
        policy.uploads = self.uploads.unwrap_or(policy.uploads);
        self.umask.apply(&mut policy.umask);
        self.file_mode.apply(&mut policy.file_mode);
        self.directory_mode.apply(&mut policy.directory_mode);
        policy.deny_names = self.deny_names.unwrap_or(policy.deny_names);
        self.max_file_size.apply(&mut policy.max_file_size);
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_bounded() {
        assert_eq!("27".parse::<Umask>().expect("a umask").to_string(), "0027");
        assert_eq!("2775".parse::<DirectoryMode>().expect("a mode").bits(), 0o2775);
        for text in ["", "+7", "8", "1777", "4644", "0o644", "00000644"] {
            assert!(text.parse::<FileMode>().is_err(), "{text:?}");
        }
        assert!("0244".parse::<FileMode>().is_err() && "0577".parse::<DirectoryMode>().is_err());
    }

    #[test]
    fn fewer_names_and_smaller_files_narrow_a_policy_and_nothing_else_does() {
        let policy = |deny: &str, most: Option<&str>| UploadPolicy {
            deny_names: deny.parse().expect("patterns"),
            max_file_size: most.map(|text| text.parse().expect("a size")),
            ..UploadPolicy::default()
        };
        let (free, php, small) = (policy("", None), policy("*.php", None), policy("", Some("1M")));
        assert!(free.is_narrowed_by(&php) && free.is_narrowed_by(&small) && php.is_narrowed_by(&small));
        assert!(policy("", Some("2M")).is_narrowed_by(&small));
        assert!(!php.is_narrowed_by(&free) && !small.is_narrowed_by(&policy("", Some("2M"))));
        let atomic = UploadPolicy { uploads: Uploads::Atomic, file_mode: "0600".parse().ok(), ..free.clone() };
        assert!(!free.is_narrowed_by(&atomic) && !atomic.is_narrowed_by(&free));
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let policy =
            UploadPolicy { umask: "0027".parse().ok(), file_mode: "0640".parse().ok(), ..UploadPolicy::default() };
        let change = UploadChange { umask: Setting::Unset, uploads: Some(Uploads::Atomic), ..UploadChange::default() };
        let changed = change.apply(policy.clone());
        assert_eq!(changed, UploadPolicy { umask: None, uploads: Uploads::Atomic, ..policy });
    }
}
