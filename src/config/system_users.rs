//! Users of the host, read from `/etc/passwd` and `/etc/group`.
//!
//! Not through the C library's name services: they load libraries into the process that every session is forked from, and
//! the only user looked for is one that a package has made.

use std::fs;

/// User and group id of a system user.
pub fn system_user(name: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    find(&text, name)
}

/// Whether a user or a group of the host has this id.
pub fn is_taken(id: u32) -> bool {
    let has = |file: &str| fs::read_to_string(file).is_ok_and(|text| ids(&text).any(|taken| taken == id));
    has("/etc/passwd") || has("/etc/group")
}

/// passwd(5): name, password, user id, group id, and more, with colons between them.
fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|l| l.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The third field of passwd(5) and of group(5).
fn ids(text: &str) -> impl Iterator<Item = u32> {
    text.lines().filter_map(|l| l.split(':').nth(2)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\nenclos-control:x:997:996::/nonexistent:/sbin/nologin\n";

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        assert_eq!(find(PASSWD, "enclos-control"), Some((997, 996)));
        assert_eq!(find(PASSWD, "enclos"), None);
        assert_eq!(find(PASSWD, "broken"), None);
        assert_eq!(ids(PASSWD).collect::<Vec<_>>(), [0, 997]);
    }
}
