//! Shell cells: a root of the host's own programs, where everything else is the cell's own, and the grants at the paths
//! that they have on the host.

mod filter;
mod host;
mod loopback;
mod newborn;
mod root;
mod small;
mod template;

pub use newborn::{Limits, ShellZygote};
pub use root::Own;
pub use template::Settings;
