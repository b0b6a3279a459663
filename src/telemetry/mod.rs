//! Logs. Runs in: every process that has a standard error; sessions have none and report to the monitor.
//!
//! Trusts nobody with the terminal: values are fields, and text of a peer is escaped where it is logged.

pub mod audit;

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Chooses what is logged, in the manner of `RUST_LOG`. `ENCLOS_LOG` is taken: it is the setting `log`, the format.
const FILTER: &str = "ENCLOS_LOG_FILTER";

/// Starts logging to standard error; by default everything an operator should know (but not how the database library gets along), otherwise what [`FILTER`] names.
/// Called once, before anything is forked.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        Format::Json => lines.json().init(),
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

/// An error with its causes, on one line: for a log and for an operator.
pub struct Causes<'e>(pub &'e dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            // Some libraries repeat the cause in their own text.
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open the door")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_stand_behind_one_another_and_none_twice() {
        assert_eq!(Causes(&Outer(std::io::Error::other("no key"))).to_string(), "open the door: no key");
    }
}
