//! Users of a database that the host has already: where it is, and what it is asked.

use std::time::Duration;

use super::database::Database;
use super::meaning::Problem;
use super::written::Written;
use crate::domain::Services;

/// See the top of this file. The queries are the operator's; each is asked for the name of a login, bound to `$1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersFrom {
    /// Where.
    pub database: Database,
    /// One row for a user.
    pub user: String,
    /// Its keys.
    pub keys: Option<String>,
    /// The hash of its password.
    pub secrets: Option<String>,
    /// What it may reach; its home unless said.
    pub policy: Option<String>,
    /// What those may open whose row names no services.
    pub services: Services,
    /// Longest until a change is noticed that ends sessions.
    pub poll: Duration,
    /// The channel that rings when something was changed (PostgreSQL).
    pub notify: Option<String>,
}

impl UsersFrom {
    /// What was written, if anything.
    pub(super) fn of(written: &Written) -> Result<Option<UsersFrom>, Problem> {
        let queries = [
            ("users_query", &written.users_query),
            ("keys_query", &written.keys_query),
            ("secrets_query", &written.secrets_query),
            ("policy_query", &written.policy_query),
        ];
        if written.users_database.is_empty() {
            let lone = queries.iter().find(|(_, query)| !query.is_empty());
            return lone.map_or(Ok(None), |(key, _)| Err((*key, "needs users_database, which says where to ask")));
        }
        let no_database = ("users_database", "must be a file by its whole path, or a URL that begins with postgres://");
        let database = Database::parse(&written.users_database).ok_or(no_database)?;
        if written.users_query.is_empty() {
            return Err(("users_query", "is missing; without it nobody is found in users_database"));
        }
        // Without it everybody would be whoever comes first.
        if let Some((key, _)) = queries.iter().find(|(_, query)| !query.is_empty() && !query.contains("$1")) {
            return Err((*key, "must ask for $1, to which the name of the login is bound"));
        }
        let services = written.users_services.parse::<Services>().ok().filter(|services| *services != Services::NONE);
        let services =
            services.ok_or(("users_services", "must be services with commas between, such as \"sftp,shell\""))?;
        if !(1..=3600).contains(&written.users_poll) {
            return Err(("users_poll", "must be a number of seconds from 1 to 3600"));
        }
        let said = |text: &String| (!text.is_empty()).then(|| text.clone());
        Ok(Some(UsersFrom {
            database,
            user: written.users_query.clone(),
            keys: said(&written.keys_query),
            secrets: said(&written.secrets_query),
            policy: said(&written.policy_query),
            services,
            poll: Duration::from_secs(written.users_poll),
            notify: said(&written.users_notify),
        }))
    }
}
