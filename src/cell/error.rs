//! A step of confinement that failed.

use rustix::io::Errno;

/// What we were doing when the kernel refused. The process does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call of a step failed.
    #[error("{step}")]
    Step {
        /// What the step is for.
        step: &'static str,
        /// What the kernel answered.
        source: Errno,
    },
    /// The filter of system calls could not be compiled or loaded.
    #[error("load the list of system calls")]
    Filter(#[source] seccompiler::Error),
    /// The filter of system calls could not be built.
    #[error("build the list of system calls")]
    Profile(#[source] seccompiler::BackendError),
    /// Landlock refused a rule.
    #[error("close Landlock over the view")]
    Landlock(#[source] ::landlock::RulesetError),
    /// A directory of the view could not be opened for its Landlock rule.
    #[error("open the view for its Landlock rule")]
    View(#[source] ::landlock::PathFdError),
    /// The kernel took the rules but does not enforce them.
    #[error("Landlock is switched off in this kernel")]
    NotEnforced,
    /// A control group could not be made, used or removed.
    #[error(transparent)]
    Group(#[from] super::groups::GroupError),
    /// A role could not prepare itself.
    #[error("{0}")]
    Prepare(String),
}

/// Names the step that a kernel answer belongs to.
pub(super) trait Context<T> {
    /// Turns an errno into the failure of `step`.
    fn step(self, step: &'static str) -> Result<T, Error>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn step(self, step: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Step { step, source })
    }
}
