//! Where the control database is: a file of SQLite, or the URL of a PostgreSQL.

use std::fmt;
use std::path::{Path, PathBuf};

/// The control database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// SQLite in this file.
    File(PathBuf),
    /// PostgreSQL.
    Server(ServerUrl),
}

/// The URL of a PostgreSQL. It may hold a password, so it prints without one.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// As it was written, password and all.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The files that its parameters name: certificates and a key.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let parameters = self.0.split_once('?').map_or("", |(_, parameters)| parameters);
        parameters.split('&').filter_map(|parameter| match parameter.split_once('=') {
            Some(("sslrootcert" | "sslcert" | "sslkey", file)) => Some(PathBuf::from(file)),
            _ => None,
        })
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What follows the last `@` before the parameters is no secret.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = self.0.split('?').next().unwrap_or_default();
        let place = without
            .rsplit_once('@')
            .map_or_else(|| without.split_once("//").map_or(without, |(_, place)| place), |(_, place)| place);
        write!(f, "postgres://{place}")
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::File(path) => write!(f, "{}", path.display()),
            Database::Server(url) => write!(f, "{url}"),
        }
    }
}

impl Database {
    /// What is written in the configuration.
    pub fn parse(written: &str) -> Option<Database> {
        if written.starts_with("postgres://") || written.starts_with("postgresql://") {
            return Some(Database::Server(ServerUrl(written.to_owned())));
        }
        let path = Path::new(written);
        let has_directory = path.parent().is_some_and(|directory| directory != Path::new("/"));
        (path.is_absolute() && has_directory && path.file_name().is_some()).then(|| Database::File(path.to_owned()))
    }

    /// The directory that SQLite writes in.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Database::File(path) => path.parent(),
            Database::Server(_) => None,
        }
    }

    /// Files that are read on the way to the database: how names become addresses, and what the URL names.
    pub fn readable(&self) -> Vec<PathBuf> {
        const RESOLVER: [&str; 4] = ["/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf"];
        match self {
            Database::File(_) => Vec::new(),
            Database::Server(url) => RESOLVER.iter().map(PathBuf::from).chain(url.files()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_prints_without_its_password() {
        let url =
            Database::parse("postgresql://enclos:a@b@db.example:5433/enclos?sslkey=/k&password=secret").expect("a URL");
        assert_eq!(format!("{url} {url:?}").matches("db.example:5433/enclos").count(), 2);
        assert!(!format!("{url} {url:?}").contains("a@b") && !url.to_string().contains("secret"), "{url}");
        assert!(url.readable().contains(&PathBuf::from("/k")));
        assert_eq!(Database::parse("postgres:///enclos").expect("a URL").to_string(), "postgres:///enclos");
    }

    #[test]
    fn a_file_is_named_by_its_whole_path() {
        assert_eq!(Database::parse("/srv/x/db"), Some(Database::File("/srv/x/db".into())));
        for bad in ["", "db", "mysql://x/y", "/db", "/"] {
            assert_eq!(Database::parse(bad), None, "{bad}");
        }
    }
}
