//! Options of accounts and users that say what programs may take of the machine.

use clap::Args;

use super::upload_options::or_none;
use crate::domain::{Cpu, LimitChange, Memory, Processes, Setting};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct LimitOptions {
    /// Most memory of its programs together, files in /tmp among it: 512M, 2G, or 25% of the machine's; none for what the
    /// configuration says
    #[arg(long, value_name = "SIZE", value_parser = or_none::<Memory>)]
    memory: Option<Setting<Memory>>,
    /// Most processes and threads at the same time; none for what the configuration says
    #[arg(long, value_name = "NUMBER", value_parser = or_none::<Processes>)]
    processes: Option<Setting<Processes>>,
    /// Most processor time: 50% is half a processor, 150% one and a half; none for what the configuration says
    #[arg(long, value_name = "PERCENT", value_parser = or_none::<Cpu>)]
    cpu: Option<Setting<Cpu>>,
}

impl LimitOptions {
    /// What they change.
    pub(super) fn change(self) -> LimitChange {
        LimitChange {
            memory: self.memory.unwrap_or_default(),
            processes: self.processes.unwrap_or_default(),
            cpu: self.cpu.unwrap_or_default(),
        }
    }
}
