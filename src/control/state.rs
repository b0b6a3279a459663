//! The state directory: what lies in it and who may look.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::config::Paths;

/// Why the state directory cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made or given its owner.
    #[error("prepare the directory {} (run as root, or choose another with --state)", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Makes the directories of a node that are missing, with their owners and modes. `control` are the ids that control
/// will have; `None` for a node of an ordinary user.
pub fn prepare_state(paths: &Paths, control: Option<(u32, u32)>) -> Result<(), StateError> {
    let (database, run, audit) = (paths.database_dir(), paths.run_dir(), paths.audit_dir());
    let ours = [(paths.state.as_path(), 0o755), (paths.keys.as_path(), 0o700)].map(|(p, m)| (p, m, None));
    let controls =
        [(database.as_path(), 0o700), (run.as_path(), 0o755), (audit.as_path(), 0o700)].map(|(p, m)| (p, m, control));
    for (path, mode, owner) in ours.into_iter().chain(controls) {
        prepare(path, mode, owner).map_err(|source| StateError::Directory { path: path.to_owned(), source })?;
    }
    Ok(())
}

fn prepare(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    if !path.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid))?;
    }
    Ok(())
}
