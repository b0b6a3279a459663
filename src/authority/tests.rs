//! Who gets in, for what, and who does not.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    AccountId, AuthorityFacts, CertificateBlob, CertificateFacts, CertificateKind, Certified, CriticalOption,
    Extensions, GrantId, KeyBlob, Logins, Mode, Opening, Principals, Secret, Service,
};

mod limits;

fn facts(shown: Shown) -> Facts {
    Facts {
        account: AccountFacts {
            id: AccountId(1),
            name: "acme".parse().expect("a name"),
            uid: 5001,
            gid: 5001,
            home: "/srv/acme".parse().expect("a path"),
            status: Status::Active,
            terms: Terms::default(),
            limits: Default::default(),
        },
        user: UserFacts {
            id: UserId(1),
            name: "bob".parse().expect("a name"),
            status: Status::Active,
            terms: Terms::default(),
            services: Services::NONE.with(Service::Sftp),
            view: None,
            uploads: UploadPolicy::default(),
            forwards: ForwardPolicy::default(),
            programs: crate::domain::ProgramPolicy::default(),
            limits: Default::default(),
            last_login: None,
            logins: Logins::default(),
            principals: Default::default(),
            own_keys: Default::default(),
            has_authenticator: false,
        },
        grants: vec![Grant { id: GrantId(1), path: "www".parse().expect("a path"), mode: Mode::Rw, no_exec: false }],
        shown,
        code_waived: false,
        as_of: AsOf::default(),
    }
}

fn key() -> Proof {
    Proof::Key(KeyBlob::new(vec![1]).expect("short"))
}

fn password() -> Proof {
    Proof::Password(Secret::new("x").expect("short"))
}

fn key_facts() -> KeyFacts {
    KeyFacts {
        fingerprint: "SHA256:x".into(),
        home: "SHA256:x".into(),
        certified: None,
        label: String::new(),
        scope: Scope::default(),
        terms: Terms::default(),
    }
}

fn here() -> Circumstances {
    Circumstances { now: Timestamp(1_000), from: "192.0.2.7".parse().expect("an address") }
}

fn known_key() -> Shown {
    Shown::Key(Box::new(key_facts()))
}

#[test]
fn a_proven_key_and_a_right_password_make_a_principal() {
    assert!(enter(&key(), Some(&facts(known_key())), &here()).is_ok());
    assert!(enter(&password(), Some(&facts(Shown::RightPassword)), &here()).is_ok());
}

#[test]
fn a_verdict_on_something_else_proves_nothing() {
    assert_eq!(enter(&key(), Some(&facts(Shown::RightPassword)), &here()).expect_err("denied"), Denial::Mismatch);
    assert_eq!(enter(&password(), Some(&facts(known_key())), &here()).expect_err("denied"), Denial::Mismatch);
    assert_eq!(enter(&password(), Some(&facts(Shown::UnknownKey)), &here()).expect_err("denied"), Denial::Mismatch);
}

#[test]
fn nobody_and_the_disabled_are_denied_whatever_they_show() {
    assert_eq!(enter(&key(), None, &here()).expect_err("denied"), Denial::UnknownUser);
    let mut disabled = facts(known_key());
    disabled.user.status = Status::Disabled;
    assert_eq!(enter(&key(), Some(&disabled), &here()).expect_err("denied"), Denial::UserDisabled);
    assert!(!worth_a_signature(Some(&disabled), &here()));
    let mut closed = facts(Shown::RightPassword);
    closed.account.status = Status::Disabled;
    assert_eq!(enter(&password(), Some(&closed), &here()).expect_err("denied"), Denial::AccountDisabled);
}

#[test]
fn the_terms_of_account_user_and_key_are_all_to_be_met() {
    let late = Terms { expires: Some(Timestamp(1_000)), ..Terms::default() };
    let elsewhere = Terms { from: "198.51.100.0/24".parse().expect("a list"), ..Terms::default() };
    let refused = [(&late, Denial::Expired as fn(Holder) -> Denial), (&elsewhere, Denial::Elsewhere)];
    for (terms, denial) in refused {
        let mut account = facts(known_key());
        account.account.terms = terms.clone();
        let mut user = facts(known_key());
        user.user.terms = terms.clone();
        let of_key = facts(Shown::Key(Box::new(KeyFacts { terms: terms.clone(), ..key_facts() })));
        for (facts, holder) in [(account, Holder::Account), (user, Holder::User), (of_key, Holder::Key)] {
            assert_eq!(enter(&key(), Some(&facts), &here()).expect_err("denied"), denial(holder));
            assert_eq!(again(&facts).expect_err("denied"), denial(holder));
            assert!(!worth_a_signature(Some(&facts), &here()));
        }
    }
}

#[test]
fn it_ends_when_the_first_of_its_terms_ends() {
    let mut known = facts(Shown::Key(Box::new(KeyFacts {
        terms: Terms { expires: Some(Timestamp(3_000)), ..Terms::default() },
        ..key_facts()
    })));
    known.account.terms.expires = Some(Timestamp(2_000));
    let until = |facts: &Facts| enter(&key(), Some(facts), &here()).expect("in time").until();
    assert_eq!(until(&known), Some(Timestamp(2_000)));
    known.account.terms.expires = None;
    assert_eq!(until(&known), Some(Timestamp(3_000)));
}

#[test]
fn a_key_with_a_scope_may_do_no_more_than_that() {
    let scope = Scope {
        paths: "www/releases".parse().ok(),
        mode: Some(Mode::Ro),
        services: Some(Services::NONE.with(Service::Shell)),
        no_terminal: true,
        ..Scope::default()
    };
    let narrow = facts(Shown::Key(Box::new(KeyFacts { scope, ..key_facts() })));
    let principal = enter(&key(), Some(&narrow), &here()).expect("in");
    assert_eq!(principal.grants().iter().map(|g| g.path.as_str()).collect::<Vec<_>>(), ["www/releases"]);
    assert!(
        principal.grants().iter().all(|g| g.mode == Mode::Ro)
            && principal.programs().terminals == crate::domain::Terminals::Refused
    );
    assert_eq!(principal.services(), Services::NONE, "the user has no shell for the key to have");
    assert!(principal.narrow_key().is_some());
    let whole = enter(&key(), Some(&facts(known_key())), &here()).expect("in");
    assert!(whole.narrow_key().is_none() && whole.services().contains(Service::Sftp));
}

/// One claim that is all that is shown.
fn enter(proof: &Proof, facts: Option<&Facts>, at: &Circumstances) -> Result<Principal, Denial> {
    match decide(proof, facts, at, None)? {
        Decision::In(principal) => Ok(*principal),
        Decision::More(_, left) => panic!("{left} is asked for as well"),
        Decision::Invited(_) => panic!("an invitation lets nobody in"),
    }
}

fn again(facts: &Facts) -> Result<Principal, Denial> {
    decide_again(Some(facts), key().credential().as_ref(), Factors::NONE.with(Factor::Key), &here())
}

fn code() -> Proof {
    Proof::Code(Secret::new("123456").expect("short"))
}

fn with_authenticator(shown: Shown, logins: &str) -> Facts {
    let mut facts = facts(shown);
    facts.user.has_authenticator = true;
    facts.user.logins = logins.parse().expect(logins);
    facts
}

/// What is left to be shown after this claim, and what was proven.
fn more(proof: &Proof, facts: &Facts, earlier: Option<Proven>) -> (Proven, String) {
    match decide(proof, Some(facts), &here(), earlier).expect("right") {
        Decision::More(proven, left) => (*proven, left.to_string()),
        Decision::In(_) | Decision::Invited(_) => panic!("{} was enough", proof.factor().as_str()),
    }
}

#[test]
fn a_code_is_asked_for_after_a_key_and_after_a_password() {
    for (proof, shown) in [(key(), known_key()), (password(), Shown::RightPassword)] {
        let (proven, left) = more(&proof, &with_authenticator(shown, ""), None);
        assert_eq!(left, "totp");
        let wrong = with_authenticator(Shown::WrongCode, "");
        assert_eq!(
            decide(&code(), Some(&wrong), &here(), Some(proven.clone())).expect_err("denied"),
            Denial::WrongCode
        );
        let right = with_authenticator(Shown::RightCode, "");
        let decided = decide(&code(), Some(&right), &here(), Some(proven)).expect("in");
        let Decision::In(principal) = decided else { panic!("more is asked for") };
        assert_eq!(principal.key().is_some(), proof.factor() == Factor::Key);
        assert!(principal.shown().contains(Factor::Code));
    }
}

#[test]
fn a_code_alone_and_a_code_for_somebody_else_prove_nothing() {
    let right = with_authenticator(Shown::RightCode, "");
    assert_eq!(decide(&code(), Some(&right), &here(), None).expect_err("denied"), Denial::CodeAlone);
    let (bobs, _) = more(&key(), &with_authenticator(known_key(), ""), None);
    let mut eve = with_authenticator(Shown::RightCode, "");
    eve.user.id = UserId(2);
    assert_eq!(decide(&code(), Some(&eve), &here(), Some(bobs.clone())).expect_err("denied"), Denial::CodeAlone);
    // What was proven for bob is nothing for eve either.
    let mut eve = with_authenticator(Shown::RightPassword, "publickey+password");
    eve.user.id = UserId(2);
    let (_, left) = more(&password(), &eve, Some(bobs));
    assert_eq!(left, "publickey");
}

#[test]
fn what_leads_nowhere_is_denied_however_right_it_is() {
    let only_key = with_authenticator(Shown::RightPassword, "publickey+totp");
    assert_eq!(decide(&password(), Some(&only_key), &here(), None).expect_err("denied"), Denial::NoWay);
    let only_password = with_authenticator(known_key(), "password");
    assert!(!worth_a_signature(Some(&only_password), &here()));
    assert_eq!(decide(&key(), Some(&only_password), &here(), None).expect_err("denied"), Denial::NoWay);
}

#[test]
fn who_showed_a_code_of_late_is_not_asked_again() {
    let mut facts = with_authenticator(known_key(), "");
    facts.code_waived = true;
    assert!(matches!(decide(&key(), Some(&facts), &here(), None).expect("right"), Decision::In(_)));
}

#[test]
fn the_scope_of_a_key_holds_whatever_else_is_shown() {
    let scope = Scope { mode: Some(Mode::Ro), ..Scope::default() };
    let narrow = with_authenticator(Shown::Key(Box::new(KeyFacts { scope, ..key_facts() })), "publickey+password");
    let (proven, left) = more(&key(), &narrow, None);
    assert_eq!(left, "password");
    let right = with_authenticator(Shown::RightPassword, "publickey+password");
    let Decision::In(principal) = decide(&password(), Some(&right), &here(), Some(proven)).expect("in") else {
        panic!("more is asked for")
    };
    assert!(principal.grants().iter().all(|grant| grant.mode == Mode::Ro));
}

const NOW: u64 = 1_000;

/// A certificate for bob, good now, by which all may be done that he may.
fn certificate() -> CertificateFacts {
    CertificateFacts {
        certified: Certified { key_id: "bob's laptop".into(), serial: 7, authority: "SHA256:ca".into() },
        fingerprint: "SHA256:x".into(),
        kind: CertificateKind::User,
        principals: vec!["alice".into(), "bob".into()],
        valid_from: NOW,
        valid_until: NOW + 1,
        critical: Vec::new(),
        extensions: Extensions { terminal: true, ports: true, agent: true },
        options: "options".into(),
        is_revoked: false,
        authority: AuthorityFacts {
            fingerprint: "SHA256:ca".into(),
            principals: Principals::default(),
            scope: Scope::default(),
            terms: Terms::default(),
        },
    }
}

fn signed() -> Proof {
    Proof::Certificate(CertificateBlob::new(vec![2]).expect("short"))
}

fn enter_with(certificate: CertificateFacts) -> Result<Principal, Denial> {
    enter(&signed(), Some(&facts(Shown::Certificate(Box::new(certificate)))), &here())
}

fn option(name: &str, value: &str) -> CriticalOption {
    CriticalOption { name: name.into(), value: value.into() }
}

fn names(text: &str) -> Principals {
    text.parse().expect("names")
}

#[test]
fn a_certificate_of_a_trusted_authority_is_a_key() {
    let principal = enter_with(certificate()).expect("in");
    assert!(principal.narrow_key().is_none() && principal.services().contains(Service::Sftp));
    assert_eq!(principal.until(), Some(Timestamp(1_001)), "it ends with the certificate");
    assert_eq!(principal.credential(), signed().credential().as_ref());
    assert_eq!(principal.key().and_then(|key| key.certified.as_ref()).map(|c| c.serial), Some(7));
    let for_ever = CertificateFacts { valid_from: 0, valid_until: u64::MAX, ..certificate() };
    assert_eq!(enter_with(for_ever).expect("in").until(), None);
}

#[test]
fn a_certificate_that_does_not_fit_is_denied() {
    let from = |change: fn(&mut CertificateFacts)| {
        let mut other = certificate();
        change(&mut other);
        enter_with(other).expect_err("denied")
    };
    assert_eq!(from(|c| c.kind = CertificateKind::Host), Unfit::Host.into());
    assert_eq!(from(|c| c.valid_from = NOW + 1), Unfit::NotYet.into());
    assert_eq!(from(|c| c.valid_until = NOW), Denial::Expired(Holder::Certificate));
    assert_eq!(from(|c| c.is_revoked = true), Denial::Revoked);
    assert_eq!(from(|c| c.principals = vec!["bo".into(), "BOB".into()]), Unfit::OtherName.into());
    assert_eq!(from(|c| c.principals.clear()), Unfit::OtherName.into());
    assert_eq!(from(|c| c.critical = vec![option("verify-required", "")]), Unfit::VerifyRequired.into());
    assert_eq!(from(|c| c.critical = vec![option("fast", "")]), Unfit::UnknownOption("fast".into()).into());
    assert_eq!(
        from(|c| c.critical = vec![option("source-address", "198.51.100.0/24")]),
        Denial::Elsewhere(Holder::Certificate)
    );
    for (name, value) in [("source-address", ""), ("source-address", "example.org"), ("force-command", "")] {
        let mut other = certificate();
        other.critical = vec![option(name, value)];
        let denied = enter_with(other).expect_err("denied");
        assert!(matches!(denied, Denial::Unfit(Unfit::BadOption { .. })), "{name}={value}: {denied}");
    }
    assert_eq!(from(|c| c.authority.terms.expires = Some(Timestamp(1_000))), Denial::Expired(Holder::Certificate));
    assert_eq!(
        from(|c| c.authority.terms.from = "198.51.100.1".parse().expect("a list")),
        Denial::Elsewhere(Holder::Certificate)
    );
}

#[test]
fn what_control_says_of_a_certificate_is_nothing_for_a_key_and_the_other_way_round() {
    for shown in [known_key(), Shown::UnknownKey, Shown::RightPassword] {
        assert_eq!(enter(&signed(), Some(&facts(shown)), &here()).expect_err("denied"), Denial::Mismatch);
    }
    let certified = facts(Shown::Certificate(Box::new(certificate())));
    for proof in [key(), password()] {
        assert_eq!(enter(&proof, Some(&certified), &here()).expect_err("denied"), Denial::Mismatch);
    }
    assert_eq!(
        enter(&signed(), Some(&facts(Shown::Flawed(Flaw::Forged))), &here()).expect_err("denied"),
        Flaw::Forged.into()
    );
    assert_eq!(
        enter(&signed(), Some(&facts(Shown::UnknownAuthority)), &here()).expect_err("denied"),
        Denial::UnknownAuthority
    );
    assert_eq!(enter(&key(), Some(&facts(Shown::RevokedKey)), &here()).expect_err("denied"), Denial::Revoked);
}

#[test]
fn names_that_were_said_stand_in_place_of_the_users_own() {
    let with = |of_authority: &str, of_user: &str, principals: &[&str]| {
        let mut shown = certificate();
        shown.authority.principals = names(of_authority);
        shown.principals = principals.iter().map(|name| (*name).to_owned()).collect();
        let mut facts = facts(Shown::Certificate(Box::new(shown)));
        facts.user.principals = names(of_user);
        enter(&signed(), Some(&facts), &here()).is_ok()
    };
    assert!(with("web", "", &["web"]) && !with("web", "", &["bob"]));
    assert!(with("", "ops\nweb", &["web"]) && !with("", "ops", &["bob"]));
    assert!(with("web", "ops", &["ops", "web"]) && !with("web", "ops", &["ops"]) && !with("web", "ops", &["web"]));
}

#[test]
fn a_certificate_and_its_authority_both_narrow() {
    let mut shown = certificate();
    shown.extensions = Extensions { ports: true, ..Extensions::default() };
    shown.critical = vec![option("force-command", "bin/deploy"), option("source-address", "192.0.2.0/24")];
    shown.authority.scope = Scope { mode: Some(Mode::Ro), ..Scope::default() };
    let mut known = facts(Shown::Certificate(Box::new(shown.clone())));
    known.user.services = "exec,agent,forward-local".parse().expect("services");
    let principal = enter(&signed(), Some(&known), &here()).expect("in");
    assert_eq!(principal.services().to_string(), "exec,forward-local");
    assert_eq!(principal.programs().forced_command.as_ref().map(ToString::to_string).as_deref(), Some("bin/deploy"));
    assert_eq!(principal.programs().terminals, crate::domain::Terminals::Refused);
    assert!(principal.grants().iter().all(|grant| grant.mode == Mode::Ro));
    assert_eq!(principal.narrow_key().map(|key| key.home.as_str()), Some("SHA256:ca.options"));
    // Two commands are one too many, whoever of the three says them.
    known.user.programs.forced_command = "bin/other".parse().ok();
    assert!(matches!(enter(&signed(), Some(&known), &here()), Err(Denial::Contradiction(_))));
    known.user.programs.forced_command = None;
    shown.authority.scope.forced_command = "bin/other".parse().ok();
    known.shown = Shown::Certificate(Box::new(shown));
    assert!(matches!(enter(&signed(), Some(&known), &here()), Err(Denial::Contradiction(_))));
}

#[test]
fn an_invitation_is_for_a_key_of_somebody_who_may_come() {
    let invitation = |change: fn(&mut InvitationFacts)| {
        let scope = Scope { mode: Some(Mode::Ro), ..Scope::default() };
        let id = crate::domain::InvitationId(1);
        let expires = Timestamp(1_001);
        let mut made = InvitationFacts { id, expires, is_redeemed: false, scope, terms: Terms::default() };
        change(&mut made);
        facts(Shown::Invitation(Box::new(made)))
    };
    let open = invitation(|_| {});
    assert!(worth_a_signature(Some(&open), &here()));
    match decide(&key(), Some(&open), &here(), None).expect("to be had") {
        Decision::Invited(welcome) => {
            assert_eq!((welcome.user.as_str(), welcome.services.to_string().as_str()), ("bob", "sftp"));
            assert!(welcome.grants.iter().all(|grant| grant.mode == Mode::Ro) && !welcome.needs_more);
        }
        other => panic!("{other:?}"),
    }
    // Nothing else takes it up, and nothing that was proven before helps.
    for proof in [password(), signed(), Proof::Code(Secret::new("123456").expect("short"))] {
        assert_eq!(decide(&proof, Some(&open), &here(), None).expect_err("denied"), Denial::Mismatch);
    }
    let mut disabled = open.clone();
    disabled.user.status = Status::Disabled;
    for (other, denial) in [
        (invitation(|i| i.is_redeemed = true), Denial::TakenUp),
        (invitation(|i| i.expires = Timestamp(1_000)), Denial::Expired(Holder::Invitation)),
        (disabled, Denial::UserDisabled),
    ] {
        assert_eq!(decide(&key(), Some(&other), &here(), None).expect_err("denied"), denial);
        assert!(!worth_a_signature(Some(&other), &here()));
    }
    // And whoever may come with it is in with nothing.
    assert_eq!(
        decide_again(Some(&open), key().credential().as_ref(), KEY, &here()).expect_err("denied"),
        Denial::NoWay
    );
}

#[test]
fn only_who_may_do_all_that_the_user_may_leaves_keys_behind() {
    let of = |key: KeyFacts, own_keys| {
        let mut known = facts(Shown::Key(Box::new(key)));
        known.user.own_keys = own_keys;
        enter(&self::key(), Some(&known), &here()).expect("in")
    };
    let limited = |expires, from: &str| KeyFacts {
        terms: Terms { expires, from: from.parse().expect("a list"), ..Terms::default() },
        ..key_facts()
    };
    assert!(of(key_facts(), OwnKeys::Taken).takes_own_keys() && !of(key_facts(), OwnKeys::Refused).takes_own_keys());
    for narrow in [
        limited(Some(Timestamp(9_000)), ""),
        limited(None, "192.0.2.0/24"),
        KeyFacts { scope: Scope { no_terminal: true, ..Scope::default() }, ..key_facts() },
        KeyFacts { certified: Some(certificate().certified), ..key_facts() },
    ] {
        let principal = of(narrow.clone(), OwnKeys::Taken);
        assert!(!principal.takes_own_keys() && principal.narrow_key().is_some(), "{narrow:?}");
    }
    assert!(of(limited(None, "192.0.2.0/24"), OwnKeys::Refused).narrow_key().is_none(), "nothing is left behind then");
}

#[test]
fn a_session_is_looked_at_again_with_its_certificate() {
    let again = |certificate| {
        let facts = facts(Shown::Certificate(Box::new(certificate)));
        decide_again(Some(&facts), signed().credential().as_ref(), KEY, &here())
    };
    assert!(again(certificate()).is_ok());
    assert_eq!(again(CertificateFacts { is_revoked: true, ..certificate() }).expect_err("denied"), Denial::NoWay);
    assert_eq!(again(CertificateFacts { valid_until: NOW, ..certificate() }).expect_err("denied"), Denial::NoWay);
}

proptest! {
    /// Whatever is shown in whatever order: nobody gets in who has not shown all of some way in.
    #[test]
    fn nobody_gets_in_by_less_than_a_whole_way(
        ways in proptest::collection::vec(1_u8..8, 0..4),
        has_authenticator in any::<bool>(),
        claims in proptest::collection::vec((0_usize..3, any::<bool>(), 1_i64..3), 1..6),
    ) {
        let word = |way: &u8| {
            let words: Vec<&str> =
                Factor::ALL.into_iter().filter(|f| way & (1 << *f as u8) != 0).map(Factor::as_str).collect();
            words.join("+")
        };
        let text = ways.iter().filter(|way| **way != 4).map(word).collect::<Vec<_>>().join(",");
        let logins: Logins = text.parse().expect("ways");
        let mut earlier = None;
        let mut shown: [Factors; 3] = [Factors::NONE; 3];
        for (which, is_right, user) in claims {
            let (proof, right, wrong) = match Factor::ALL[which] {
                Factor::Key => (key(), known_key(), Shown::UnknownKey),
                Factor::Password => (password(), Shown::RightPassword, Shown::WrongPassword),
                Factor::Code => (code(), Shown::RightCode, Shown::WrongCode),
            };
            let mut facts = facts(if is_right { right } else { wrong });
            facts.user.id = UserId(user);
            facts.user.logins = logins.clone();
            facts.user.has_authenticator = has_authenticator;
            let mine = &mut shown[usize::try_from(user).expect("small")];
            if is_right {
                *mine = mine.with(proof.factor());
            }
            match decide(&proof, Some(&facts), &here(), earlier.clone()) {
                Ok(Decision::In(_)) => {
                    prop_assert!(is_right);
                    prop_assert!(logins.ways(has_authenticator).into_iter().any(|way| mine.contain(way)));
                    return Ok(());
                }
                Ok(Decision::Invited(_)) => prop_assert!(false, "nobody was invited"),
                Ok(Decision::More(proven, left)) => {
                    prop_assert!(is_right && left != Factors::NONE);
                    earlier = Some(*proven);
                }
                Err(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// What is explained of a login is what becomes of it, whatever is said of account, user and key.
    #[test]
    fn a_login_is_explained_as_it_is_decided(
        (user_active, account_active, has_authenticator) in any::<(bool, bool, bool)>(),
        ends in proptest::array::uniform3(proptest::option::of(990_i64..1_010)),
        sources in proptest::array::uniform3(0_usize..4),
        hours in proptest::array::uniform3(0_usize..4),
        limits in proptest::array::uniform3(proptest::option::of(1_u32..9)),
        (is_certificate, serial_left) in any::<(bool, bool)>(),
        ways in 0_usize..6,
        shows in proptest::collection::vec((0_usize..3, any::<bool>()), 1..4),
    ) {
        let from = |n: usize| ["", "192.0.2.0/24", "198.51.100.1", "192.0.2.*,!192.0.2.7"][n].parse().expect("a list");
        let open = |n: usize| [Opening::Always, Opening::Until(Timestamp(1_001)), Opening::Until(here().now), Opening::Closed][n];
        let terms = |n: usize| Terms {
            expires: ends[n].map(Timestamp),
            from: from(sources[n]),
            sessions: SessionLimits { lasting: limits[n], idle: limits[n], ..SessionLimits::default() },
            hours: (hours[n] > 0).then(|| "mon-fri 08:00-18:00".parse().expect("hours")),
            open: open(hours[n]),
        };
        let ways = ["", "publickey", "password", "publickey+password", "publickey+totp,password", "password+totp"][ways];
        let status = |active| if active { Status::Active } else { Status::Disabled };
        let step = |(which, is_right): &(usize, bool)| {
            let (proof, right, wrong) = match Factor::ALL[*which] {
                Factor::Key if is_certificate => {
                    let mut shown = certificate();
                    shown.authority.terms = terms(2);
                    shown.is_revoked = !serial_left;
                    (signed(), Shown::Certificate(Box::new(shown)), Shown::UnknownAuthority)
                }
                Factor::Key => (key(), Shown::Key(Box::new(KeyFacts { terms: terms(2), ..key_facts() })), Shown::UnknownKey),
                Factor::Password => (password(), Shown::RightPassword, Shown::WrongPassword),
                Factor::Code => (code(), Shown::RightCode, Shown::WrongCode),
            };
            let mut facts = facts(if *is_right { right } else { wrong });
            (facts.account.terms, facts.user.terms) = (terms(0), terms(1));
            (facts.account.status, facts.user.status) = (status(account_active), status(user_active));
            facts.user.logins = ways.parse().expect("ways");
            facts.user.has_authenticator = has_authenticator;
            (proof, Some(facts))
        };
        let steps: Vec<_> = shows.iter().map(step).collect();
        let mut earlier = None;
        let mut entered = None;
        for (proof, facts) in &steps {
            match decide(proof, facts.as_ref(), &here(), earlier.take()) {
                Ok(Decision::In(principal)) => entered = Some(principal),
                Ok(Decision::More(proven, _)) => { earlier = Some(*proven); continue }
                Ok(Decision::Invited(_)) | Err(_) => {}
            }
            break;
        }
        let explained = explain(&steps, &here(), &[crate::domain::Attempt::Service(Service::Sftp)]);
        prop_assert_eq!(explained.login.allowed, entered.is_some(), "{:?}", explained);
        let until = entered.as_ref().and_then(|principal| principal.until_if_begun(here().now));
        prop_assert_eq!(explained.until, until);
        let told = |what: &str| explained.limits.iter().find(|limited| limited.what == what).map(|limited| limited.most);
        let idle = entered.as_ref().and_then(|principal| principal.bounds().idle).map(u64::from);
        prop_assert_eq!((told("idle"), told("bandwidth")), (idle, None));
        prop_assert_eq!(explained.answers[0].verdict.allowed, explained.login.allowed);
    }
}
