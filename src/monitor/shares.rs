//! What sessions that are held to one bandwidth together share: a page of memory for each user, and for each key, that has
//! one of its own. They take turns by the numbers in it; see `session::traffic`. The monitor never reads it.
//!
//! What could a captured session gain? It can write there what it likes: then it keeps to no limit, which it could leave
//! unread as well, or slows down the other sessions of the same user, by a bounded amount. Nobody else has the page.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use rustix::io::Errno;

use crate::authority::Principal;
use crate::domain::UserName;
use crate::wire;

/// Whose bandwidth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    User(UserName),
    Key(UserName, String),
}

/// The pages that live sessions hold.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pages: BTreeMap<Whose, Weak<OwnedFd>>,
}

impl Shares {
    /// Those of a principal, in the order of its bandwidths. They last as long as somebody holds them.
    pub(super) fn of(&mut self, principal: &Principal) -> Result<Vec<Arc<OwnedFd>>, Errno> {
        self.pages.retain(|_, page| page.strong_count() > 0);
        let bounds = principal.bounds();
        let user = bounds.of_user.map(|_| Whose::User(principal.user().clone()));
        let fingerprint = principal.key().map(|key| key.fingerprint.clone()).unwrap_or_default();
        let key = bounds.of_key.map(|_| Whose::Key(principal.user().clone(), fingerprint));
        [user, key].into_iter().flatten().map(|whose| self.page(whose)).collect()
    }

    fn page(&mut self, whose: Whose) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(page) = self.pages.get(&whose).and_then(Weak::upgrade) {
            return Ok(page);
        }
        let page = Arc::new(wire::make_shared()?);
        self.pages.insert(whose, Arc::downgrade(&page));
        Ok(page)
    }
}
