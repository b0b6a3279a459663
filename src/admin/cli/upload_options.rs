//! Options of `enclos user add` and `set` that say how uploads are written.

use clap::Args;

use crate::domain::{
    BadPattern, ByteCount, DirectoryMode, FileMode, NamePattern, Setting, Umask, UploadChange, Uploads,
};

/// The word that takes a setting back.
const NONE: &str = "none";

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct UploadOptions {
    /// When an uploaded file shows under its name: atomic (when it is whole) or direct (from its first byte on) [default:
    /// direct]
    #[arg(long, value_name = "WHEN")]
    uploads: Option<Uploads>,
    /// Permissions that new files and directories never get, in octal; none for the node's
    #[arg(long, value_name = "OCTAL", value_parser = or_none::<Umask>)]
    umask: Option<Setting<Umask>>,
    /// Permissions of every file, in octal, whatever a client asks for at making it or later; none for what it asks for
    #[arg(long, value_name = "OCTAL", value_parser = or_none::<FileMode>)]
    file_mode: Option<Setting<FileMode>>,
    /// Permissions of every directory, in octal, whatever a client asks for; with 2000, what is made in it belongs to its
    /// group; none for what a client asks for
    #[arg(long, value_name = "OCTAL", value_parser = or_none::<DirectoryMode>)]
    directory_mode: Option<Setting<DirectoryMode>>,
    /// Names that cannot be made or written to, such as '*.php' and '.htaccess'; give it once for each, which replaces all
    /// earlier ones; none for no such names. Upper and lower case are the same. Web servers often run x.php.jpg too: deny
    /// '*.php.*' as well
    #[arg(long, value_name = "PATTERN")]
    deny_name: Vec<String>,
    /// Size that no file can be written beyond, such as 500M; none for no such size
    #[arg(long, value_name = "SIZE", value_parser = or_none::<ByteCount>)]
    max_file_size: Option<Setting<ByteCount>>,
}

impl UploadOptions {
    /// What they change.
    pub(super) fn change(self) -> Result<UploadChange, BadPattern> {
        let deny_names = match self.deny_name.as_slice() {
            [] => None,
            [only] if only == NONE => Some(Vec::new()),
            several => Some(several.iter().map(|text| text.parse()).collect::<Result<Vec<NamePattern>, _>>()?),
        };
        Ok(UploadChange {
            uploads: self.uploads,
            umask: self.umask.unwrap_or_default(),
            file_mode: self.file_mode.unwrap_or_default(),
            directory_mode: self.directory_mode.unwrap_or_default(),
            deny_names: deny_names.map(TryInto::try_into).transpose()?,
            max_file_size: self.max_file_size.unwrap_or_default(),
        })
    }
}

/// A setting, or the word that takes it back.
pub(super) fn or_none<T: std::str::FromStr>(text: &str) -> Result<Setting<T>, T::Err> {
    if text == NONE { Ok(Setting::Unset) } else { Ok(Setting::Set(text.parse()?)) }
}
