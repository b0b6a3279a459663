//! What a certificate comes to: the key that it vouches for, with what its authority and its own options leave of the user.
//!
//! The rules are OpenSSH's (PROTOCOL.certkeys, ssh-keygen(1) CERTIFICATES), and where it leaves a choice the narrower one:
//! a certificate without principals is nobody's.

use super::{Circumstances, Denial, Holder};
use crate::domain::{
    CertificateFacts, CertificateKind, CriticalOption, Extensions, KeyFacts, Principals, Scope, Service, Sources,
    Terms, Timestamp, UserFacts,
};

/// Why a certificate that is signed as it should be does not open a user's door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is for a host.
    #[error("certificate is for hosts")]
    Host,
    /// Its time has not come.
    #[error("certificate is not valid yet")]
    NotYet,
    /// It is made out to somebody else.
    #[error("certificate is made out to none of the names that are taken for this user")]
    OtherName,
    /// It asks for what is not known here.
    #[error("certificate has the critical option {0:?}, which is not known here")]
    UnknownOption(String),
    /// Whether somebody gave a PIN cannot be checked.
    #[error("certificate needs a verified user (verify-required), which cannot be checked here")]
    VerifyRequired,
    /// An option says what makes no sense.
    #[error("certificate has a critical option {name} that cannot be read: {why}")]
    BadOption {
        /// Which.
        name: &'static str,
        /// Why not.
        why: String,
    },
}

/// The key that a certificate vouches for, as if it were one of the user's.
pub(super) fn vouched(
    certificate: &CertificateFacts,
    user: &UserFacts,
    at: &Circumstances,
) -> Result<KeyFacts, Denial> {
    if certificate.is_revoked {
        return Err(Denial::Revoked);
    }
    if certificate.kind != CertificateKind::User {
        return Err(Unfit::Host.into());
    }
    in_time(certificate, at)?;
    if !is_made_out_to(certificate, user) {
        return Err(Unfit::OtherName.into());
    }
    let own = permitted(certificate.extensions).and(critical(&certificate.critical, at)?)?;
    let authority = &certificate.authority;
    // Certificates of one authority by which the same may be done share a home.
    let home = format!("{}.{}", authority.fingerprint, certificate.options);
    Ok(KeyFacts {
        fingerprint: certificate.fingerprint.clone(),
        label: certificate.certified.to_string(),
        home,
        scope: authority.scope.clone().and(own)?,
        terms: Terms {
            expires: authority.terms.expires.into_iter().chain(end(certificate.valid_until)).min(),
            from: authority.terms.from.clone(),
            sessions: authority.terms.sessions,
            hours: authority.terms.hours.clone(),
            open: authority.terms.open,
        },
        certified: Some(certificate.certified.clone()),
    })
}

/// The end of a certificate, if it has one.
fn end(valid_until: u64) -> Option<Timestamp> {
    i64::try_from(valid_until).ok().map(Timestamp)
}

fn in_time(certificate: &CertificateFacts, at: &Circumstances) -> Result<(), Denial> {
    let now = u64::try_from(at.now.0).unwrap_or(0);
    if now < certificate.valid_from {
        return Err(Unfit::NotYet.into());
    }
    if now >= certificate.valid_until { Err(Denial::Expired(Holder::Certificate)) } else { Ok(()) }
}

/// The user's login name, unless other names were said: then one of each list.
fn is_made_out_to(certificate: &CertificateFacts, user: &UserFacts) -> bool {
    let says = |name: &str| certificate.principals.iter().any(|principal| principal == name);
    let lists = [&certificate.authority.principals, &user.principals];
    let said: Vec<&Principals> = lists.into_iter().filter(|list| !list.is_unsaid()).collect();
    match said.as_slice() {
        [] => says(user.name.as_str()),
        lists => lists.iter().all(|list| list.iter().any(says)),
    }
}

/// What extensions leave: what is not permitted is not open.
fn permitted(extensions: Extensions) -> Scope {
    let is_left = |service: &Service| match service {
        Service::ForwardLocal | Service::ForwardRemote => extensions.ports,
        Service::Agent => extensions.agent,
        _ => true,
    };
    let is_all = extensions.ports && extensions.agent;
    Scope {
        services: (!is_all).then(|| Service::ALL.into_iter().filter(is_left).collect()),
        no_terminal: !extensions.terminal,
        ..Scope::default()
    }
}

/// What critical options leave.
fn critical(options: &[CriticalOption], at: &Circumstances) -> Result<Scope, Denial> {
    options.iter().try_fold(Scope::default(), |scope, CriticalOption { name, value }| match name.as_str() {
        "force-command" => {
            let forced = Scope::forcing(value).map_err(|why| bad("force-command", &why))?;
            Ok(scope.and(forced)?)
        }
        "source-address" => {
            let from: Sources = value.parse().map_err(|why| bad("source-address", &why))?;
            if from.is_everywhere() {
                return Err(bad("source-address", &"it lists no address"));
            }
            if from.allow(at.from) { Ok(scope) } else { Err(Denial::Elsewhere(Holder::Certificate)) }
        }
        "verify-required" => Err(Unfit::VerifyRequired.into()),
        _ => Err(Unfit::UnknownOption(name.clone()).into()),
    })
}

fn bad(name: &'static str, why: &dyn std::fmt::Display) -> Denial {
    Unfit::BadOption { name, why: why.to_string() }.into()
}
