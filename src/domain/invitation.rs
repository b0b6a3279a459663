//! Invitations: one-time names, `invite-` and twenty letters and digits, behind which a client's key becomes a user's.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ClaimedName, Grant, InvitationId, Scope, Services, Terms, Timestamp, UserName};

/// What such a name begins with. No user can be called so.
pub const INVITE: &str = "invite-";

/// The secret of an invitation: 100 random bits in base32 (RFC 4648), small letters. Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteCode(String);

impl InviteCode {
    /// How many letters and digits it has, of five bits each.
    pub const LENGTH: usize = 20;

    /// Reads the secret of a name that was typed, if the name is one of an invitation.
    pub fn of(name: &ClaimedName) -> Option<InviteCode> {
        let code = name.as_unchecked_str().strip_prefix(INVITE)?;
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'2'..=b'7');
        (code.len() == Self::LENGTH && code.bytes().all(is_letter)).then(|| InviteCode(code.to_owned()))
    }

    /// Makes one of this much chance.
    pub fn from_random(bits: u128) -> InviteCode {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let letter = |n: usize| {
            let five = (bits >> (5 * n)) & 31;
            usize::try_from(five).ok().and_then(|at| LETTERS.get(at)).map_or('a', |letter| char::from(*letter))
        };
        InviteCode((0..Self::LENGTH).map(letter).collect())
    }

    /// The secret itself, for the one place that compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The name that a client types.
    pub fn login_name(&self) -> String {
        format!("{INVITE}{}", self.0)
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode")
    }
}

/// An invitation that a claim names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationFacts {
    /// Its row.
    pub id: InvitationId,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether somebody has taken it up.
    pub is_redeemed: bool,
    /// What the key that takes it up may do of what the user may.
    pub scope: Scope,
    /// When and from where that key may be used.
    pub terms: Terms,
}

/// What somebody whose key became a user's is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The login name from now on.
    pub user: UserName,
    /// What the key may open.
    pub services: Services,
    /// What it may reach.
    pub grants: Vec<Grant>,
    /// Until when.
    pub until: Option<Timestamp>,
    /// What is run whatever is asked for, if that is so.
    pub forced_command: Option<String>,
    /// Whether a code or a password has to be shown besides.
    pub needs_more: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(name: &str) -> Option<InviteCode> {
        InviteCode::of(&ClaimedName::new(name).expect("short"))
    }

    #[test]
    fn only_names_of_invitations_have_a_code() {
        assert!(code("invite-abcdefghij234567abcd").is_some());
        for name in [
            "invite-",
            "invite-abc",
            "bob",
            "invite-abcdefghij234567abcD",
            "invite-abcdefghij234567abc1",
            "invite-abcdefghij234567abcda",
            " invite-abcdefghij234567abcd",
            "invite-abcdefghij234567ab\0d",
        ] {
            assert!(code(name).is_none(), "{name:?}");
        }
        assert_eq!(format!("{:?}", code("invite-abcdefghij234567abcd")), "Some(InviteCode)");
    }

    proptest! {
        #[test]
        fn every_code_is_read_back_and_a_hundred_bits_count(bits in any::<u128>(), flipped in 0_u32..100) {
            let made = InviteCode::from_random(bits);
            prop_assert_eq!(code(&made.login_name()), Some(made.clone()));
            prop_assert!(made != InviteCode::from_random(bits ^ (1 << flipped)));
        }
    }
}
