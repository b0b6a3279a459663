//! The shell zygote's renewal. What cells show of the host's settings is copied when their zygote starts; when that has
//! changed since (a resolver that came with the network, a time zone, a library), cells to come are another zygote's.
//!
//! The one before stays as long as cells of its live: it is who ends them if this process is killed.

use super::Error;
use super::cells::Cells;
use super::children::Child;
use super::node::Node;
use super::system;
use crate::cell::Privilege;
use crate::cell::shell::Settings;

/// Most zygotes that stay for their cells. With so many, settings wait until one has gone.
const MOST_RETIRED: usize = 16;

/// Which zygote cells are from.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// What the settings were when the present one started.
    settings: Settings,
    /// How many there were before it.
    pub(super) age: u32,
    retired: Vec<(u32, Child<()>)>,
}

impl Renewal {
    /// A zygote is about to start.
    pub(super) fn begin(&mut self) {
        self.settings = Settings::now();
        self.age = self.age.wrapping_add(1);
    }
}

impl Cells {
    /// Whether the zygote is to be another one, and nothing is under way from the present one.
    fn is_to_be_renewed(&self, privilege: Privilege) -> bool {
        // Without root a zygote starts only from the very file that this process runs, which an upgrade has replaced perhaps.
        matches!(privilege, Privilege::Root)
            && self.has_zygote()
            && self.renewal.retired.len() < MOST_RETIRED
            && self.iter().all(|(_, cell)| cell.is_born())
            && self.renewal.settings != Settings::now()
    }
}

impl Node<'_> {
    /// Has the next cell made by a new zygote, if what cells show has changed.
    pub(super) fn renew_shell_zygote(&mut self) -> Result<(), Error> {
        self.let_retired_go()?;
        if !self.cells.is_to_be_renewed(self.privilege) {
            return Ok(());
        }
        if let Some(zygote) = self.cells.take_zygote() {
            self.poll.forget(&zygote.link).map_err(system("stop watching the shell zygote"))?;
            let age = self.cells.renewal.age;
            self.cells.renewal.retired.push((age, zygote));
            tracing::info!("settings of the host have changed: cells from now on show them");
        }
        Ok(())
    }

    /// Ends zygotes whose cells have all gone.
    fn let_retired_go(&mut self) -> Result<(), Error> {
        for (age, zygote) in std::mem::take(&mut self.cells.renewal.retired) {
            if self.cells.iter().any(|(_, cell)| cell.of == age) {
                self.cells.renewal.retired.push((age, zygote));
                continue;
            }
            zygote.kill().map_err(system("end a shell zygote"))?;
            self.leaving.push(zygote.pidfd);
        }
        Ok(())
    }
}
