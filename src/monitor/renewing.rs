//! The shell zygote: its start, its end and its renewal. What cells show of the host's settings is copied when their zygote
//! starts; when that has changed since (a resolver that came with the network, a time zone, a library), cells to come are
//! another zygote's.
//!
//! Should the monitor be killed, the zygote is who ends the cells. So each takes over those of the one before it.

use std::os::fd::BorrowedFd;
use std::process::ExitCode;

use super::cells::Cells;
use super::children::Child;
use super::node::Node;
use super::poll::Token;
use super::{Error, shells, system};
use crate::cell::Privilege;
use crate::cell::shell::Settings;
use crate::telemetry::Causes;

impl Cells {
    /// Whether the zygote is to be another one, and nothing is under way from the present one.
    fn is_to_be_renewed(&self, privilege: Privilege) -> bool {
        // Without root a zygote starts only from the very file that this process runs, which an upgrade has replaced perhaps.
        matches!(privilege, Privilege::Root)
            && self.zygote.is_some()
            && self.iter().all(|(_, cell)| cell.is_born())
            && self.settings != Settings::now()
    }
}

impl Node<'_> {
    /// Starts a shell zygote, which takes over all cells, in the place of the present one if there is one.
    pub(super) fn fork_shell_zygote(&mut self) -> Result<(), Error> {
        let privilege = self.privilege;
        // Looked at before the zygote reads them: a change between is one that it may not have seen.
        let settings = Settings::now();
        let cells: Vec<BorrowedFd<'_>> = self.cells.iter().filter_map(|(_, cell)| cell.process()).collect();
        let child =
            Child::fork_with(c"enclos-shells", &cells, |link, cells| match shells::serve(&link, privilege, cells) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!(error = %Causes(&error), "the shell zygote ended");
                    ExitCode::FAILURE
                }
            })?;
        self.poll.watch(&child.link, Token::ShellZygote).map_err(system("watch the shell zygote"))?;
        self.cells.settings = settings;
        match self.cells.zygote.replace(child) {
            Some(before) => self.let_shell_zygote_go(before),
            None => Ok(()),
        }
    }

    /// Has the next cell made by a new zygote, if what cells show has changed.
    pub(super) fn renew_shell_zygote(&mut self) {
        if !self.cells.is_to_be_renewed(self.privilege) {
            return;
        }
        match self.fork_shell_zygote() {
            Ok(()) => tracing::info!("settings of the host have changed: cells from now on show them"),
            Err(error) => {
                tracing::error!(error = %Causes(&error), "settings of the host have changed, but cells cannot show them yet");
            }
        }
    }

    /// The shell zygote has ended. Cells that it has not told of do not come; the others go on, and are another's at once.
    pub(super) fn lose_shell_zygote(&mut self) -> Result<(), Error> {
        let Some(zygote) = self.cells.zygote.take() else { return Ok(()) };
        let has_worked = zygote.ready;
        self.let_shell_zygote_go(zygote)?;
        let unborn: Vec<u32> =
            self.cells.iter().filter(|(_, cell)| cell.process().is_none()).map(|(number, _)| number).collect();
        for number in unborn {
            self.end_cell(number, "the server failed to start your programs; try again")?;
        }
        // One that fails at its start would fail again: it is tried when a cell is wanted.
        if has_worked
            && self.stopping.is_none()
            && !self.cells.is_empty()
            && let Err(error) = self.fork_shell_zygote()
        {
            tracing::error!(error = %Causes(&error), "nobody would end the programs that run if this process were killed");
        }
        Ok(())
    }

    fn let_shell_zygote_go(&mut self, zygote: Child<()>) -> Result<(), Error> {
        self.poll.forget(&zygote.link).map_err(system("stop watching the shell zygote"))?;
        zygote.kill().map_err(system("end a shell zygote"))?;
        self.leaving.push(zygote.pidfd);
        Ok(())
    }
}
