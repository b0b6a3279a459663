//! How a view is said on the command line.

use crate::domain::{UnknownView, View};

/// A view, or none in particular.
#[derive(Debug, Clone, Copy)]
pub(super) struct ViewSetting(pub(super) Option<View>);

impl std::str::FromStr for ViewSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(ViewSetting(None));
        }
        let known = text.parse().map(|view| ViewSetting(Some(view)));
        known.map_err(|unknown: UnknownView| format!("{unknown}, or default for what its services suggest"))
    }
}
