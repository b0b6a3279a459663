//! Options of `enclos user add` and `set` that say what may be forwarded, and in which network.

use clap::Args;

use crate::domain::{BadPermits, ForwardChange, Network, Permits};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ForwardOptions {
    /// The network of its programs and forwards: own (nothing but itself) or host (all that the host reaches, its own
    /// services on localhost and addresses of a cloud's metadata among it; programs see in /proc/net what others have
    /// open) [default: own]
    #[arg(long, value_name = "NETWORK")]
    network: Option<Network>,
    /// Where forwards may lead: host:port (an IPv6 address in brackets), a port of localhost, or the path of a socket,
    /// with * for all hosts or ports; several with commas or one option each, which replace all earlier ones; any or none
    /// [default: any]
    #[arg(long, value_name = "PLACE", value_delimiter = ',')]
    permit_open: Vec<String>,
    /// Where it may listen for others: a port, host:port or the path of a socket, as above. Other addresses than localhost
    /// must be named [default: any, which is all of localhost]
    #[arg(long, value_name = "PLACE", value_delimiter = ',')]
    permit_listen: Vec<String>,
}

impl ForwardOptions {
    /// What they change.
    pub(super) fn change(self) -> Result<ForwardChange, BadPermits> {
        Ok(ForwardChange {
            network: self.network,
            permit_open: permits(&self.permit_open)?,
            permit_listen: permits(&self.permit_listen)?,
        })
    }
}

fn permits(said: &[String]) -> Result<Option<Permits>, BadPermits> {
    if said.is_empty() { Ok(None) } else { said.join(",").parse().map(Some) }
}
