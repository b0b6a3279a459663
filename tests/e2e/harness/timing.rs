//! How long a refusal takes, measured at the wire: OpenSSH's own start would hide it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::client;

/// Takes any host key: nothing secret is said here.
struct Anybody;

impl client::Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &russh::keys::PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// From a password to its refusal.
pub(crate) fn time_to_refuse(port: u16, user: &str, password: &str) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let config = Arc::new(client::Config::default());
        let mut session = client::connect(config, ("127.0.0.1", port), Anybody).await.expect("connect");
        let begun = Instant::now();
        let answer = session.authenticate_password(user, password).await.expect("an answer");
        assert!(!answer.success(), "{user} was let in");
        begun.elapsed()
    })
}
