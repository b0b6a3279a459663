//! What is told to a client that logs in: the methods that may come next (RFC 4252, 5.1), and the question for a code
//! (RFC 4256).

use std::borrow::Cow;

use russh::server::Auth;
use russh::{MethodKind, MethodSet};

use crate::domain::{Factor, Factors};
use crate::session::login::Verdict;

/// What is asked.
const PROMPT: &[(Cow<'static, str>, bool)] =
    &[(Cow::Borrowed("Code from your authenticator (or a recovery code): "), false)];

/// The answer to a claim; `left` is what is left to be shown for its name.
pub(super) fn answer(verdict: Verdict, left: Option<Factors>) -> Auth {
    match verdict {
        Verdict::In => Auth::Accept,
        Verdict::More => Auth::Reject { proceed_with_methods: Some(methods(left)), partial_success: true },
        Verdict::Out => rejected(left),
    }
}

/// A refusal after which everything may be tried again. Left to itself the library takes a method away once it has
/// failed, and a mistyped password could not be typed again.
pub(super) fn rejected(left: Option<Factors>) -> Auth {
    Auth::Reject { proceed_with_methods: Some(methods(left)), partial_success: false }
}

/// Whether a code is among what is left.
pub(super) fn asks_for_a_code(left: Option<Factors>) -> bool {
    left.is_some_and(|left| left.contains(Factor::Code))
}

/// Asks for it.
pub(super) fn ask_for_a_code() -> Auth {
    Auth::Partial { name: Cow::Borrowed(""), instructions: Cow::Borrowed(""), prompts: Cow::Borrowed(PROMPT) }
}

/// The methods by which something can be shown. At first these are keys and passwords: a question for a code is put only to
/// whoever needs one.
pub(super) fn methods(left: Option<Factors>) -> MethodSet {
    let left = left.unwrap_or(Factors::NONE.with(Factor::Key).with(Factor::Password));
    let known = [
        (Factor::Key, MethodKind::PublicKey),
        (Factor::Password, MethodKind::Password),
        (Factor::Code, MethodKind::KeyboardInteractive),
    ];
    let kinds: Vec<MethodKind> =
        known.into_iter().filter(|(factor, _)| left.contains(*factor)).map(|(_, kind)| kind).collect();
    MethodSet::from(kinds.as_slice())
}
