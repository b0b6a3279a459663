//! `enclos export` and `enclos import`
//!
//! Files are opened with the rights of whoever calls, and only then does control's user look at its database.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::args::{Export, Import};
use super::{CommandError, Context, Result, as_owner_of, prepare_state_for, report};
use crate::control::Outcome;
use crate::control::transfer::{self, ImportView, TransferError};

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

pub(super) fn import(context: &Context<'_>, options: &Import) -> Result<()> {
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
