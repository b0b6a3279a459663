//! `enclos explain`

use super::args::Explain;
use super::credentials::read_key;
use super::{Context, Result};
use crate::control::{Asked, Operation};

pub(super) fn run(context: &Context<'_>, options: Explain) -> Result<()> {
    let Explain { user, key, password, totp, from, at, write, read, service, forward } = options;
    let key = match key {
        // What is no file is the name of a key that is known.
        Some(path) if path.as_os_str() == "-" || path.exists() => Some(read_key(&path)?),
        other => other.map(|name| name.to_string_lossy().into_owned()),
    };
    context.perform(Operation::Explain(Box::new(Asked {
        user,
        key,
        password,
        totp,
        from,
        at,
        read,
        write,
        service,
        forward,
    })))
}

/// A host and a port as clients write them.
pub(super) fn place(text: &str) -> std::result::Result<(String, u16), String> {
    let wrong = || "write HOST:PORT, such as db.example.org:3306 or [2001:db8::1]:22".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(wrong());
    }
    Ok((host.to_owned(), port.parse().map_err(|_| wrong())?))
}
