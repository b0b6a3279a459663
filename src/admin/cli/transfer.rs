//! `enclos export` and `enclos import`
//!
//! Files are opened with the rights of whoever calls, and only then does control's user look at its database.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

use super::args::{Export, Import, ImportFrom, OwnerOptions};
use super::{CommandError, Context, Result, as_owner_of, prepare_state_for, report};
use crate::config::Database;
use crate::control::Outcome;
use crate::control::transfer::{self, ImportView, OpensshFiles, Owners, TableNames, Tables, TransferError};

impl Context<'_> {
    /// Does something on the database itself.
    fn on_database<T>(&self, work: impl FnOnce() -> std::result::Result<T, TransferError>) -> Result<T> {
        prepare_state_for(self.node)?;
        as_owner_of(&self.node.control.paths.database_dir(), || Ok(work()?))
    }
}

pub(super) fn export(context: &Context<'_>, options: &Export) -> Result<()> {
    let path = &options.file;
    if path == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(CommandError::Input("an export holds secrets; give a file, or a pipe to read it".to_owned()));
        }
        return context
            .on_database(|| transfer::export(&context.node.control, &mut BufWriter::new(io::stdout().lock())));
    }
    let failed = |what| move |source| CommandError::File { what, path: path.clone(), source };
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed("make the file"))?;
    let mut to = BufWriter::new(file);
    let written = context.on_database(|| transfer::export(&context.node.control, &mut to));
    let kept = written.and_then(|()| {
        let file = to.into_inner().map_err(|error| failed("write")(error.into_error()))?;
        file.sync_all().map_err(failed("write"))
    });
    if kept.is_err() {
        // Half an export is none.
        std::fs::remove_file(path).map_err(failed("remove"))?;
    }
    kept
}

pub(super) fn import(context: &Context<'_>, options: Import) -> Result<()> {
    if let Some(from) = options.from {
        return import_from(context, from, options.dry_run);
    }
    let path = options.file.as_deref().unwrap_or(Path::new("-"));
    let from: Box<dyn Read> = if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(open(path)?) };
    let view = context.on_database(|| transfer::import(&context.node.control, from, options.dry_run))?;
    show(context, view)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| CommandError::File { what: "read", path: path.to_owned(), source })
}

fn show(context: &Context<'_>, view: ImportView) -> Result<()> {
    report::print(&Outcome::Import(view), context.json)
}

/// Largest file of another server that is read.
const LARGEST: u64 = 256 * 1024 * 1024;
/// Largest file of keys.
const LARGEST_KEYS: u64 = 512 * 1024;

fn import_from(context: &Context<'_>, from: ImportFrom, dry_run: bool) -> Result<()> {
    let settings = &context.node.control;
    let view = match from {
        ImportFrom::Openssh { passwd, shadow, group, sshd_config, home_root } => {
            let maybe = |path: Option<PathBuf>| path.as_deref().map(text_of).transpose();
            let (passwd, shadow) = (text_of(&passwd)?, maybe(shadow)?);
            let (group, sshd_config) = (maybe(group)?, maybe(sshd_config)?);
            let root = std::path::absolute(&home_root).map_err(|source| CommandError::File {
                what: "find",
                path: home_root.clone(),
                source,
            })?;
            let keys = |path: &str, uid: u32| keys_of(&root, path, uid);
            // Homes are looked into with the rights of whoever calls, before control's user looks at its database.
            let draft = transfer::read_openssh(&OpensshFiles { passwd, shadow, group, sshd_config, keys: &keys });
            context.on_database(|| transfer::openssh(settings, draft, dry_run))?
        }
        ImportFrom::Sftpgo { file, owners } => {
            let (text, owners) = (text_of(&file)?, owners.into());
            context.on_database(|| transfer::sftpgo(settings, &text, &owners, dry_run))?
        }
        ImportFrom::Proftpd { file, database, users_table, keys_table, owners } => {
            let names = TableNames { users: users_table, keys: keys_table };
            let tables = match (file, database) {
                (Some(file), _) => Tables::Dump(text_of(&file)?),
                (None, Some(database)) => Tables::Live(database_of(&database)?),
                (None, None) => return Err(CommandError::Input("give a dump, or --database".to_owned())),
            };
            let owners = owners.into();
            // Read with the rights of whoever calls: another server's database is closed to control's user.
            let draft = transfer::read_proftpd(&tables, &names, &owners)?;
            context.on_database(|| transfer::proftpd(settings, draft, dry_run))?
        }
    };
    show(context, view)
}

impl From<OwnerOptions> for Owners {
    fn from(options: OwnerOptions) -> Owners {
        Owners { ids: options.uid.zip(options.gid), account: options.account.zip(options.home) }
    }
}

fn database_of(text: &str) -> Result<Database> {
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        let path = std::path::absolute(text);
        path.map_err(|source| CommandError::File { what: "find", path: text.into(), source })?.display().to_string()
    };
    let wrong =
        || CommandError::Input("give the file of an SQLite database, or a URL that begins with postgres://".to_owned());
    Database::parse(&whole).ok_or_else(wrong)
}

/// A whole file as text. What is no UTF-8 in it is nobody's name.
fn text_of(path: &Path) -> Result<String> {
    let failed = |source| CommandError::File { what: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let read = open(path)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > LARGEST {
        return Err(CommandError::Input(format!("{} is larger than {LARGEST} bytes", path.display())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Somebody's list of keys, as sshd would take it with `StrictModes`: a file of theirs or of root's that nobody else may
/// write. It lies in a home, so no link on the way to it is followed.
fn keys_of(root: &Path, path: &str, uid: u32) -> std::result::Result<Option<String>, String> {
    let whole = root.join(path.trim_start_matches('/'));
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how =
        OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = match openat2(AT_FDCWD, whole.as_path(), how) {
        Ok(file) => File::from(file),
        Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => return Ok(None),
        Err(nix::errno::Errno::ELOOP) => return Err("a link leads to it, which is not followed".to_owned()),
        Err(errno) => return Err(format!("it cannot be read: {errno}")),
    };
    let found = file.metadata().map_err(|error| error.to_string())?;
    if !found.is_file() || found.mode() & 0o022 != 0 || (found.uid() != uid && found.uid() != 0) {
        return Err("sshd would not take it: it is no file, or others than its user may write it".to_owned());
    }
    let mut text = String::new();
    match file.take(LARGEST_KEYS).read_to_string(&mut text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}
