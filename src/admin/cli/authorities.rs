//! `enclos ca …`

use std::io::Read;
use std::path::Path;

use super::args::{Ca, CaAdd, Revoke};
use super::credentials::read_key;
use super::{CommandError, Context, Result};
use crate::control::{CaHolder, Operation, WhatToRevoke};
use crate::domain::{BadPrincipals, Principals};

/// Largest key revocation list: what fits into one request to the node.
const LONGEST_LIST: u64 = 700 * 1024;

pub(super) fn run(context: &Context<'_>, command: Ca) -> Result<()> {
    context.perform(match command {
        Ca::Add(add) => {
            let CaAdd { account, user, everybody: _, file, principal, options } = *add;
            let holder = match (account, user) {
                (Some(name), _) => CaHolder::Account { name },
                (None, Some(name)) => CaHolder::User { name },
                (None, None) => CaHolder::Everybody,
            };
            let principals = principals(principal)?;
            Operation::CaAdd { holder, text: read_key(&file)?, principals, change: options.change()? }
        }
        Ca::List => Operation::CaList,
        Ca::Remove { authority } => Operation::CaRemove { authority },
        Ca::Revoke(what) => Operation::CaRevoke { what: what_to_revoke(what)? },
        Ca::Revoked => Operation::CaRevoked,
        Ca::Unrevoke { id } => Operation::CaUnrevoke { id },
    })
}

/// Names for certificates; the word none alone takes them back.
pub(super) fn principals(said: Vec<String>) -> Result<Principals> {
    let said = if said == ["none"] { Vec::new() } else { said };
    said.try_into().map_err(|bad: BadPrincipals| CommandError::Input(bad.to_string()))
}

fn what_to_revoke(what: Revoke) -> Result<WhatToRevoke> {
    let Revoke { file, krl, serial, id, ca } = what;
    let authority = || ca.clone().ok_or_else(|| CommandError::Input("say whose certificates: --ca".to_owned()));
    match (file, krl, serial, id) {
        (Some(file), ..) => Ok(WhatToRevoke::File { text: read_key(&file)? }),
        (_, Some(file), ..) => Ok(WhatToRevoke::Krl { base64: data_encoding::BASE64.encode(&read_list(&file)?) }),
        (_, _, Some(serial), _) => {
            let (from, to) = range(&serial)?;
            Ok(WhatToRevoke::Serials { authority: authority()?, from, to })
        }
        (.., Some(key_id)) => Ok(WhatToRevoke::KeyId { authority: authority()?, key_id }),
        _ => Err(CommandError::Input("say what to revoke; see: enclos ca revoke --help".to_owned())),
    }
}

fn range(text: &str) -> Result<(u64, u64)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = number(from).zip(number(to));
    range
        .ok_or_else(|| CommandError::Input(format!("{text:?} is no serial number; give one, or a range such as 10-20")))
}

fn read_list(path: &Path) -> Result<Vec<u8>> {
    let unreadable =
        |source| CommandError::File { what: "read the key revocation list", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(unreadable)?
        .take(LONGEST_LIST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST_LIST {
        let sentence =
            format!("{} has more than {LONGEST_LIST} bytes; revoke ranges of serial numbers", path.display());
        return Err(CommandError::Input(sentence));
    }
    Ok(bytes)
}
