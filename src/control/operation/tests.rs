//! Operations on a temporary database, as the command line and the admin socket have them done.

use super::*;
use crate::control::outcome::{AccountView, GrantView, KeyView, UserView};
use crate::control::store::Presented;
use crate::control::store::testing::Fresh;
use crate::domain::{
    ClaimedName, Facts, KeyChange, LastLogin, NamePatterns, Network, Setting, Terminals, Timestamp, UploadPolicy,
    Uploads,
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti bob@laptop";

/// A database with the account `acme` and its user `bob`.
struct Database {
    store: Store,
    fresh: Fresh,
}

impl Database {
    async fn empty() -> Database {
        let fresh = fresh();
        let store = Store::open(&fresh.database).await.expect("a database");
        Database { store, fresh }
    }

    async fn with_bob() -> Database {
        let database = Database::empty().await;
        database.done(account_add("acme", 5001)).await;
        database.done(user_add("bob", "acme")).await;
        database
    }

    async fn apply(&self, operation: Operation) -> Result<Done> {
        apply(&self.store, Ids::default(), operation).await
    }

    async fn done(&self, operation: Operation) -> Done {
        self.apply(operation).await.expect("done")
    }

    async fn refusal(&self, operation: Operation) -> String {
        self.apply(operation).await.expect_err("refused").to_string()
    }

    async fn accounts(&self) -> Vec<AccountView> {
        match self.done(Operation::AccountList).await.outcome {
            Outcome::Accounts(accounts) => accounts,
            other => panic!("{other:?}"),
        }
    }

    async fn user(&self, name: &str) -> UserView {
        match self.done(Operation::UserShow { name: known(name) }).await.outcome {
            Outcome::User(user) => user,
            other => panic!("{other:?}"),
        }
    }

    async fn grants(&self, user: &str) -> Vec<GrantView> {
        match self.done(Operation::GrantList { user: Some(known(user)) }).await.outcome {
            Outcome::Grants(grants) => grants,
            other => panic!("{other:?}"),
        }
    }

    async fn keys(&self, user: &str) -> Vec<KeyView> {
        match self.done(Operation::KeyList { user: known(user) }).await.outcome {
            Outcome::Keys(keys) => keys,
            other => panic!("{other:?}"),
        }
    }
}

fn known<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name or path")
}

fn account_add(name: &str, id: u32) -> Operation {
    Operation::AccountAdd { name: known(name), uid: id, gid: id, home: known(&format!("/srv/{name}")) }
}

fn user_add(name: &str, account: &str) -> Operation {
    Operation::UserAdd {
        name: known(name),
        account: known(account),
        services: known("sftp"),
        view: None,
        uploads: UploadChange::default(),
        forwards: ForwardChange::default(),
        programs: ProgramChange::default(),
        limits: LimitChange::default(),
    }
}

fn grant_add(user: &str, path: &str, mode: Mode) -> Operation {
    Operation::GrantAdd { user: known(user), path: known(path), mode, no_exec: false }
}

fn key_add(user: &str, text: &str) -> Operation {
    Operation::KeyAdd { user: known(user), text: text.to_owned(), change: KeyChange::default() }
}

fn passwd(user: &str, password: Option<&str>) -> Operation {
    let password = password.map(|text| Secret::new(text).expect("short"));
    Operation::Passwd { user: known(user), password }
}

#[tokio::test]
async fn an_account_never_has_the_id_of_root_of_nobody_or_of_a_session() {
    let database = Database::empty().await;
    let ids = Ids::default();
    for (uid, gid, part) in [
        (0, 5001, "cannot belong to root"),
        (5001, 0, "cannot belong to root"),
        (u32::MAX, 5001, "not an id that files can have"),
        (5001, u32::MAX, "not an id that files can have"),
        (ids.first, 5001, "this node's own processes (1879048192 to 1879113727)"),
        (5001, ids.first + ids.count - 1, "this node's own processes"),
    ] {
        let home = known("/srv/acme");
        let refusal = database.refusal(Operation::AccountAdd { name: known("acme"), uid, gid, home }).await;
        assert!(refusal.contains(part), "{uid} {gid}: {refusal}");
    }
    assert!(database.accounts().await.is_empty());
    database.done(account_add("before", ids.first - 1)).await;
    database.done(account_add("behind", ids.first + ids.count)).await;
}

#[tokio::test]
async fn the_whole_host_is_no_home() {
    let database = Database::empty().await;
    for home in ["/", "//", "/./"] {
        let operation = Operation::AccountAdd { name: known("acme"), uid: 5001, gid: 5001, home: known(home) };
        assert!(database.refusal(operation).await.contains("the whole host cannot be"), "{home}");
    }
}

#[tokio::test]
async fn a_name_is_given_once() {
    let database = Database::with_bob().await;
    assert_eq!(database.refusal(account_add("acme", 5002)).await, "there is an account acme already");
    database.done(account_add("other", 5002)).await;
    assert!(database.refusal(user_add("bob", "other")).await.contains("unique over all accounts"));
    assert_eq!(database.user("bob").await.account.as_str(), "acme");
}

#[tokio::test]
async fn a_misspelt_name_is_answered_with_the_nearest() {
    let database = Database::with_bob().await;
    let refusal = database.refusal(Operation::UserShow { name: known("bobb") }).await;
    assert_eq!(refusal, "there is no user bobb; did you mean bob?");
    let refusal = database.refusal(Operation::UserShow { name: known("zoe") }).await;
    assert_eq!(refusal, "there is no user zoe; list them with: enclos user list");
    for operation in [user_add("eve", "acne"), Operation::AccountShow { name: known("acne") }] {
        assert_eq!(database.refusal(operation).await, "there is no account acne; did you mean acme?");
    }
}

#[tokio::test]
async fn an_account_with_users_is_removed_only_when_told_so() {
    let database = Database::with_bob().await;
    let remove = |with_users| Operation::AccountRemove { name: known("acme"), with_users };
    assert!(database.refusal(remove(false)).await.contains("still has users (1)"));
    database.done(key_add("bob", KEY)).await;
    let done = database.done(remove(true)).await;
    assert_eq!(done.affected, Affected::Account(known("acme")));
    assert!(database.accounts().await.is_empty());
    assert!(database.refusal(Operation::UserShow { name: known("bob") }).await.contains("no user bob"));
}

#[tokio::test]
async fn what_takes_away_says_whose_sessions_end_and_what_gives_ends_none() {
    let database = Database::with_bob().await;
    let bob = || known::<UserName>("bob");
    let set = |status| Operation::UserSetStatus { name: bob(), status };
    let set_all = |status| Operation::AccountSetStatus { name: known("acme"), status };
    let remove = || Operation::GrantRemove { user: bob(), path: known("www") };
    for (operation, affected) in [
        (grant_add("bob", "www", Mode::Ro), Affected::Nobody),
        (grant_add("bob", "www", Mode::Rw), Affected::Nobody),
        (grant_add("bob", "www", Mode::Ro), Affected::User(bob())),
        (remove(), Affected::User(bob())),
        (set(Status::Disabled), Affected::User(bob())),
        (set(Status::Active), Affected::Nobody),
        (set_all(Status::Disabled), Affected::Account(known("acme"))),
        (set_all(Status::Active), Affected::Nobody),
        (passwd("bob", Some("one")), Affected::Password(bob())),
        (passwd("bob", None), Affected::Password(bob())),
        (Operation::UserRemove { name: bob() }, Affected::User(bob())),
    ] {
        let text = format!("{operation:?}");
        assert_eq!(database.done(operation).await.affected, affected, "{text}");
    }
}

#[tokio::test]
async fn two_grants_are_never_shown_by_the_same_name() {
    let database = Database::with_bob().await;
    database.done(grant_add("bob", "www/site1", Mode::Rw)).await;
    let refusal = database.refusal(grant_add("bob", "old/site1", Mode::Ro)).await;
    assert!(refusal.contains("\"site1\" already (www/site1)"), "{refusal}");
    database.done(grant_add("bob", "./www//site1/", Mode::Ro)).await;
    let grants = database.grants("bob").await;
    assert_eq!(grants.len(), 1, "the same path, however it is written, is the same grant: {grants:?}");
    assert_eq!(grants[0].mode, Mode::Ro);
}

#[tokio::test]
async fn nothing_is_granted_inside_what_is_hidden_whatever_comes_first() {
    let database = Database::with_bob().await;
    database.done(grant_add("bob", "www", Mode::Hidden)).await;
    for mode in [Mode::Rw, Mode::Ro, Mode::Upload, Mode::Hidden] {
        let refusal = database.refusal(grant_add("bob", "www/site1", mode)).await;
        assert!(refusal.contains("www/site1 would lie inside www, which is hidden from bob"), "{refusal}");
    }
    database.done(grant_add("bob", "logs", Mode::Ro)).await;
    assert_eq!(database.grants("bob").await.len(), 2);
}

/// A session looks at every directory on the way to a nested grant, and cannot be served with ten thousand of them.
#[tokio::test]
async fn grants_do_not_lie_too_deep_in_one_another() {
    let database = Database::with_bob().await;
    database.done(grant_add("bob", "www", Mode::Rw)).await;
    let refusal = database.refusal(grant_add("bob", &format!("www{}", "/a".repeat(1025)), Mode::Hidden)).await;
    assert!(refusal.contains("more than 1024 directories on their ways"), "{refusal}");
    for n in 1..Facts::MOST_GRANTS {
        database.done(grant_add("bob", &format!("www/{n}{}", "/a".repeat(14)), Mode::Hidden)).await;
    }
}

#[tokio::test]
async fn grants_of_one_user_fit_into_one_message() {
    let database = Database::with_bob().await;
    for n in 0..Facts::MOST_GRANTS {
        database.done(grant_add("bob", &format!("d{n}"), Mode::Rw)).await;
    }
    assert!(database.refusal(grant_add("bob", "one-more", Mode::Rw)).await.contains("64 grants already"));
    database.done(grant_add("bob", "d0", Mode::Ro)).await;

    database.done(user_add("eve", "acme")).await;
    let long = |n: usize| format!("{}{n}", "directory/".repeat(400));
    let mut given = 0;
    let refusal = loop {
        match database.apply(grant_add("eve", &long(given), Mode::Rw)).await {
            Ok(_) => given += 1,
            Err(refusal) => break refusal.to_string(),
        }
    };
    assert!(refusal.contains("longer than 32768 bytes together"), "{refusal}");
    assert_eq!(given, 8);
}

#[tokio::test]
async fn a_key_may_be_several_users_but_each_users_once() {
    let database = Database::with_bob().await;
    database.done(user_add("eve", "acme")).await;
    database.done(key_add("bob", KEY)).await;
    database.done(key_add("eve", KEY)).await;
    assert!(database.refusal(key_add("bob", KEY)).await.starts_with("bob has that key already (SHA256:"));
    let (bobs, eves) = (database.keys("bob").await, database.keys("eve").await);
    assert_eq!((bobs.len(), bobs[0].label.as_str()), (1, "bob@laptop"));

    let others = Operation::KeyRemove { user: known("bob"), key: eves[0].id.to_string() };
    assert!(database.refusal(others).await.contains("bob has no key"));
    let own = Operation::KeyRemove { user: known("bob"), key: bobs[0].fingerprint.clone() };
    let done = database.done(own).await;
    assert_eq!(done.affected, Affected::Key(known("bob"), bobs[0].fingerprint.clone()));
    assert_eq!((database.keys("bob").await.len(), database.keys("eve").await.len()), (0, 1));
}

#[tokio::test]
async fn a_password_is_kept_only_as_a_hash() {
    let database = Database::with_bob().await;
    assert!(database.refusal(passwd("bob", Some(""))).await.contains("an empty password is no password"));
    assert!(!database.user("bob").await.password);
    let done = database.done(passwd("bob", Some("hunter2"))).await;
    assert!(!format!("{done:?}").contains("hunter2"));
    assert!(database.user("bob").await.password);
    let name = crate::domain::ClaimedName::new("bob").expect("short");
    let stored = database.store.known(&name, Presented::Nothing).await.expect("facts").and_then(|known| known.password);
    assert!(stored.is_some_and(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")));
    database.done(passwd("bob", None)).await;
    assert!(!database.user("bob").await.password);
}

#[tokio::test]
async fn sessions_are_for_a_running_node() {
    let database = Database::empty().await;
    assert!(database.refusal(Operation::SessionList).await.contains("no node is running"));
    assert!(database.refusal(Operation::SessionKill { conn: 1 }).await.contains("no node is running"));
}

#[tokio::test]
async fn what_was_done_is_there_when_the_database_is_opened_again() {
    let database = Database::with_bob().await;
    database.done(grant_add("bob", "www", Mode::Ro)).await;
    let Database { store, fresh } = database;
    store.close().await;
    let store = Store::open(&fresh.database).await.expect("a database");
    let again = Database { store, fresh };
    assert_eq!(again.grants("bob").await[0].path.as_str(), "www");
}

fn set_uploads(change: UploadChange) -> Operation {
    Operation::UserSetUploads { name: known("bob"), change }
}

#[tokio::test]
async fn an_upload_policy_is_kept_and_a_narrower_one_ends_sessions() {
    let database = Database::with_bob().await;
    assert_eq!(database.user("bob").await.uploads, UploadPolicy::default());
    let modes = UploadChange {
        uploads: Some(Uploads::Atomic),
        umask: Setting::Set(known("0027")),
        file_mode: Setting::Set(known("0640")),
        directory_mode: Setting::Set(known("2750")),
        ..UploadChange::default()
    };
    assert_eq!(database.done(set_uploads(modes.clone())).await.affected, Affected::Nobody);
    let limits = UploadChange {
        deny_names: Some(known("*.php\n.htaccess")),
        max_file_size: Setting::Set(known("10M")),
        ..UploadChange::default()
    };
    assert_eq!(database.done(set_uploads(limits.clone())).await.affected, Affected::User(known("bob")));
    let policy = database.user("bob").await.uploads;
    assert_eq!(policy, limits.apply(modes.apply(UploadPolicy::default())));
    let known =
        database.store.known(&ClaimedName::new("bob").expect("a name"), Presented::Nothing).await.expect("facts");
    assert_eq!(known.expect("bob").user.uploads, policy);
    let wider = UploadChange { deny_names: Some(NamePatterns::default()), ..UploadChange::default() };
    assert_eq!(database.done(set_uploads(wider)).await.affected, Affected::Nobody);
}

#[tokio::test]
async fn a_forward_policy_is_kept_and_a_narrower_one_ends_sessions() {
    let database = Database::with_bob().await;
    let set = |network, open: &str| Operation::UserSetForwards {
        name: known("bob"),
        change: ForwardChange { network: Some(network), permit_open: Some(known(open)), permit_listen: None },
    };
    assert_eq!(database.done(set(Network::Host, "any")).await.affected, Affected::Nobody);
    assert_eq!(database.done(set(Network::Host, "db:3306")).await.affected, Affected::User(known("bob")));
    assert_eq!(database.done(set(Network::Host, "db:*")).await.affected, Affected::Nobody);
    assert_eq!(database.done(set(Network::Own, "any")).await.affected, Affected::User(known("bob")));
    let kept =
        database.store.known(&ClaimedName::new("bob").expect("a name"), Presented::Nothing).await.expect("facts");
    assert_eq!(kept.expect("bob").user.forwards, database.user("bob").await.forwards);
    assert_eq!(database.user("bob").await.forwards, crate::domain::ForwardPolicy::default());
}

fn programs_set(change: ProgramChange) -> Operation {
    Operation::UserSetPrograms { name: known("bob"), change }
}

#[tokio::test]
async fn what_is_taken_from_programs_ends_sessions_and_what_is_given_does_not() {
    let database = Database::with_bob().await;
    let services = |text: &str| Operation::UserSetServices { name: known("bob"), services: known(text) };
    let (nobody, bob) = (Affected::Nobody, Affected::User(known("bob")));
    assert_eq!(database.done(services("sftp,exec,shell")).await.affected, nobody);
    assert_eq!(database.done(services("sftp,exec")).await.affected, bob);
    assert!(database.refusal(services("")).await.contains("at least one service"));
    let forced = |text: Option<&str>| ProgramChange {
        forced_command: text.map_or(Setting::Unset, |text| Setting::Set(known(text))),
        ..ProgramChange::default()
    };
    let terminals = |terminals| ProgramChange { terminals: Some(terminals), ..ProgramChange::default() };
    for (change, affected) in [
        (forced(Some("date")), &bob),
        (forced(Some("date")), &nobody),
        (forced(Some("id")), &bob),
        (forced(None), &nobody),
        (terminals(Terminals::Refused), &bob),
        (terminals(Terminals::Allowed), &nobody),
        (ProgramChange { shell: Setting::Set(known("/bin/rbash")), ..ProgramChange::default() }, &bob),
    ] {
        assert_eq!(database.done(programs_set(change)).await.affected, *affected);
    }
    assert_eq!(database.user("bob").await.programs.shell(), "/bin/rbash");
    // A command that nothing would run is refused, and so is taking away what runs it.
    database.done(services("sftp")).await;
    assert!(database.refusal(programs_set(forced(Some("date")))).await.contains("--service exec"));
    database.done(programs_set(forced(Some("internal-sftp")))).await;
    assert!(database.refusal(services("exec")).await.contains("--service sftp"));
}

#[tokio::test]
async fn the_last_login_is_the_latest() {
    let database = Database::with_bob().await;
    let name = ClaimedName::new("bob").expect("short");
    let login = |at, from: &str| LastLogin { at: Timestamp(at), from: from.parse().expect("an address") };
    for (at, from) in [(100, "192.0.2.1"), (200, "::1"), (150, "192.0.2.2")] {
        database.store.note_login(&known("bob"), login(at, from)).await.expect("noted");
    }
    let facts = database.store.known(&name, Presented::Nothing).await.expect("a query").expect("bob");
    assert_eq!(facts.user.last_login, Some(login(200, "::1")));
}

#[tokio::test]
async fn limits_are_kept_and_narrower_ones_end_sessions() {
    let database = Database::with_bob().await;
    let memory = |text: &str| LimitChange { memory: Setting::Set(known(text)), ..LimitChange::default() };
    let of_user = |change| Operation::UserSetLimits { name: known("bob"), change };
    let of_account = |change| Operation::AccountSetLimits { name: known("acme"), change };
    assert_eq!(database.user("bob").await.limits, Default::default());
    assert_eq!(database.done(of_user(memory("1G"))).await.affected, Affected::User(known("bob")));
    assert_eq!(database.done(of_user(memory("2G"))).await.affected, Affected::Nobody);
    let more = LimitChange {
        processes: Setting::Set(known("200")),
        cpu: Setting::Set(known("150%")),
        ..LimitChange::default()
    };
    assert_eq!(database.done(of_account(more.clone())).await.affected, Affected::Account(known("acme")));
    assert_eq!(database.user("bob").await.limits, memory("2G").apply(Default::default()));
    let facts = database.store.user("bob").await.expect("a database").expect("a user");
    assert_eq!((facts.0.limits, facts.1.limits.memory), (more.apply(Default::default()), "2G".parse().ok()));
    let unset = LimitChange { memory: Setting::Unset, ..LimitChange::default() };
    assert_eq!(database.done(of_user(unset)).await.affected, Affected::User(known("bob")));
    assert_eq!(database.user("bob").await.limits, Default::default());
}
