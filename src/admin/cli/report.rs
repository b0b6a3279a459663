//! What is printed: results as tables or JSON, layers, and errors with their causes.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use super::table::layout;
use super::{CommandError, Examination, Result, Start};
use crate::control::transfer::ImportView;
use crate::control::{
    AccountView, Answer, AuthenticatorView, AuthorityView, ChangedPath, ExplanationView, GrantView, InvitationView,
    KeyView, Limited, Outcome, RevocationView, Revoked, SessionView, UserView, Verdict, times,
};
use crate::domain::{
    Ban, ByteCount, ForwardPolicy, LayerReport, Limits, OwnKeys, Permits, ProgramPolicy, Scope, Shell, Terminals,
    Terms, Timestamp, UploadPolicy,
};
use crate::telemetry::Causes;

/// Prints what an operation came to.
pub(super) fn print(outcome: &Outcome, json: bool) -> Result<()> {
    say(&if json { to_json(outcome)? } else { to_text(outcome) })
}

/// Writes to standard output. A reader that has seen enough, like `head`, is no failure.
pub(super) fn say(text: &str) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::Print(error)),
        _ => Ok(()),
    }
}

/// The value alone: a list stays a list, whatever it is a list of.
fn to_json(outcome: &Outcome) -> Result<String> {
    let value = match outcome {
        Outcome::Done(sentence) => serde_json::json!({ "done": sentence }),
        outcome => {
            let mut tagged = serde_json::to_value(outcome)?;
            tagged.get_mut("value").map(serde_json::Value::take).unwrap_or_default()
        }
    };
    Ok(serde_json::to_string_pretty(&value)?)
}

fn to_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(sentence) => sentence.clone(),
        Outcome::Account(account) => accounts(std::slice::from_ref(account)),
        Outcome::Accounts(list) => accounts(list),
        Outcome::User(user) => users(std::slice::from_ref(user)),
        Outcome::Users(list) => users(list),
        Outcome::Grant(grant) => grants(std::slice::from_ref(grant)),
        Outcome::Grants(list) => grants(list),
        Outcome::Key(key) => keys(std::slice::from_ref(key)),
        Outcome::Keys(list) => keys(list),
        Outcome::Invitation(invitation) => invited(invitation),
        Outcome::Invitations(list) => invitations(list),
        Outcome::Authority(authority) => authorities(std::slice::from_ref(authority)),
        Outcome::Authorities(list) => authorities(list),
        Outcome::Revocations(list) => revocations(list),
        Outcome::Authenticator(authenticator) => enrolled(authenticator),
        Outcome::Import(view) => imported(view),
        Outcome::Explanation(explanation) => explained(explanation),
        Outcome::Bans(list) => bans(list),
        Outcome::Sessions(list) => sessions(list),
        Outcome::Events(list) => list.iter().map(|e| event(&e.event)).collect::<Vec<_>>().join("\n"),
        Outcome::Changes(list) => changes(list),
        Outcome::Facts(facts) => facts.user.name.to_string(),
    }
}

/// A long list of users, printed page by page.
pub(super) struct Pages {
    json: bool,
    is_first: bool,
}

impl Pages {
    pub(super) fn begin(json: bool) -> Result<Pages> {
        if json {
            say("[")?;
        }
        Ok(Pages { json, is_first: true })
    }

    pub(super) fn print(&mut self, page: &[UserView]) -> Result<()> {
        let text = match (self.json, self.is_first) {
            (true, _) => {
                let users =
                    page.iter().map(serde_json::to_string_pretty).collect::<std::result::Result<Vec<_>, _>>()?;
                let comma = if self.is_first { "" } else { "," };
                if users.is_empty() { String::new() } else { format!("{comma}{}", users.join(",\n")) }
            }
            (false, true) => users(page),
            // The heading stands once.
            (false, false) => users(page).split_once('\n').map_or(String::new(), |(_, rows)| rows.to_owned()),
        };
        self.is_first = false;
        if text.is_empty() { Ok(()) } else { say(&text) }
    }

    pub(super) fn end(self) -> Result<()> {
        if self.json { say("]") } else { Ok(()) }
    }
}

fn accounts(list: &[AccountView]) -> String {
    let row = |a: &AccountView| {
        vec![
            a.name.to_string(),
            a.uid.to_string(),
            a.gid.to_string(),
            a.home.to_string(),
            a.status.as_str().to_owned(),
            a.users.to_string(),
            limits(a.limits),
            terms(&a.terms),
        ]
    };
    let heading = ["ACCOUNT", "UID", "GID", "HOME", "STATUS", "USERS", "LIMITS", "TERMS"];
    layout(&heading, &list.iter().map(row).collect::<Vec<_>>())
}

fn users(list: &[UserView]) -> String {
    let row = |u: &UserView| {
        let grants: Vec<String> = u.grants.iter().map(|g| format!("{} ({})", g.path, rights(g))).collect();
        vec![
            u.name.to_string(),
            u.account.to_string(),
            u.services.to_string(),
            u.status.as_str().to_owned(),
            u.keys.to_string(),
            if u.password { "yes" } else { "no" }.to_owned(),
            logins(u),
            u.view.to_string(),
            programs(&u.programs),
            limits(u.limits),
            uploads(&u.uploads),
            forwards(&u.forwards),
            terms(&u.terms),
            grants.join(", "),
        ]
    };
    let heading = [
        "USER", "ACCOUNT", "SERVICES", "STATUS", "KEYS", "PASSWORD", "LOGIN", "VIEW", "PROGRAMS", "LIMITS", "UPLOADS",
        "NETWORK", "TERMS", "GRANTS",
    ];
    layout(&heading, &list.iter().map(row).collect::<Vec<_>>())
}

/// The ways in, in one cell of a table.
fn logins(user: &UserView) -> String {
    let ways = user.logins.ways(user.totp);
    let mut said: Vec<String> = ways.iter().map(ToString::to_string).collect();
    said.extend((user.own_keys == OwnKeys::Taken).then(|| "own keys".to_owned()));
    said.extend(user.principals.iter().map(|name| format!("certificates for {name}")));
    said.join(", ")
}

/// The policy in one cell of a table: only what was said.
fn uploads(policy: &UploadPolicy) -> String {
    let mut said = vec![policy.uploads.to_string()];
    said.extend(policy.umask.map(|mode| format!("umask {mode}")));
    said.extend(policy.file_mode.map(|mode| format!("files {mode}")));
    said.extend(policy.directory_mode.map(|mode| format!("directories {mode}")));
    said.extend(policy.max_file_size.map(|size| format!("at most {size}")));
    said.extend(policy.deny_names.iter().map(|pattern| format!("not {pattern}")));
    said.join(", ")
}

/// The network, and the places that were said.
fn forwards(policy: &ForwardPolicy) -> String {
    let mut said = vec![policy.network.to_string()];
    let places = [("to", &policy.permit_open), ("from", &policy.permit_listen)];
    said.extend(
        places.iter().filter(|(_, p)| **p != Permits::default()).map(|(way, places)| format!("{way} {places}")),
    );
    said.join(", ")
}

/// How programs are run, in one cell of a table: only what was said.
fn programs(policy: &ProgramPolicy) -> String {
    let mut said: Vec<String> = policy.shell.iter().map(Shell::to_string).collect();
    said.extend(policy.forced_command.iter().map(|command| format!("only {command:?}", command = command.to_string())));
    said.extend((policy.terminals == Terminals::Refused).then(|| "no terminal".to_owned()));
    said.extend(policy.linger.map(|linger| format!("linger {linger}")));
    said.join(", ")
}

/// What programs may take, in one cell of a table: only what was said.
fn limits(limits: Limits) -> String {
    let mut said = Vec::new();
    said.extend(limits.memory.map(|memory| format!("memory {memory}")));
    said.extend(limits.processes.map(|processes| format!("{processes} processes")));
    said.extend(limits.cpu.map(|cpu| format!("{cpu} of a processor")));
    said.join(", ")
}

fn grants(list: &[GrantView]) -> String {
    let row = |g: &GrantView| vec![g.user.to_string(), g.account.to_string(), g.path.to_string(), rights(g)];
    layout(&["USER", "ACCOUNT", "PATH", "MODE"], &list.iter().map(row).collect::<Vec<_>>())
}

fn rights(grant: &GrantView) -> String {
    if grant.no_exec { format!("{},noexec", grant.mode) } else { grant.mode.to_string() }
}

fn keys(list: &[KeyView]) -> String {
    let row = |k: &KeyView| {
        vec![
            k.id.to_string(),
            k.user.to_string(),
            k.algorithm.clone(),
            k.fingerprint.clone(),
            k.label.clone(),
            k.origin.as_str().to_owned(),
            scope(&k.scope),
            terms(&k.terms),
        ]
    };
    let heading = ["ID", "USER", "ALGORITHM", "FINGERPRINT", "LABEL", "ORIGIN", "SCOPE", "TERMS"];
    layout(&heading, &list.iter().map(row).collect::<Vec<_>>())
}

/// An invitation, for whoever passes it on.
fn invited(new: &InvitationView) -> String {
    let login = new.login.as_deref().unwrap_or_default();
    format!(
        "Whoever logs in with this name first, by whatever key, uses the login {} with that key from then on:\n\n    ssh \
         {login}@HOST\n\nIt can be done once, until {}. The name cannot be shown again; to withdraw it: enclos invitation \
         withdraw {}",
        new.user,
        times::shown(new.ends),
        new.id
    )
}

fn invitations(list: &[InvitationView]) -> String {
    let now = times::now();
    let row = |i: &InvitationView| {
        let state = match (i.redeemed, i.ends <= now) {
            (Some(at), _) => format!("taken up {}", times::shown(at)),
            (None, true) => "over".to_owned(),
            (None, false) => format!("open until {}", times::shown(i.ends)),
        };
        let key = i.fingerprint.clone().unwrap_or_default();
        vec![i.id.to_string(), i.user.to_string(), i.label.clone(), state, key, scope(&i.scope), terms(&i.terms)]
    };
    let heading = ["ID", "USER", "LABEL", "STATE", "KEY", "SCOPE", "TERMS"];
    layout(&heading, &list.iter().map(row).collect::<Vec<_>>())
}

fn authorities(list: &[AuthorityView]) -> String {
    let row = |a: &AuthorityView| {
        let whose = match (&a.user, &a.account) {
            (Some(user), _) => format!("user {user}"),
            (None, Some(account)) => format!("account {account}"),
            (None, None) => "everybody".to_owned(),
        };
        let principals: Vec<&str> = a.principals.iter().collect();
        let principals = if principals.is_empty() { "the user's name".to_owned() } else { principals.join(", ") };
        let scope = scope(&a.scope);
        let row = [a.id.to_string(), whose, a.algorithm.clone(), a.fingerprint.clone(), a.label.clone()];
        row.into_iter().chain([principals, scope, terms(&a.terms)]).collect::<Vec<_>>()
    };
    let heading = ["ID", "FOR", "ALGORITHM", "FINGERPRINT", "LABEL", "PRINCIPALS", "SCOPE", "TERMS"];
    layout(&heading, &list.iter().map(row).collect::<Vec<_>>())
}

fn revocations(list: &[RevocationView]) -> String {
    let of = |authority: &Option<String>| authority.clone().unwrap_or_else(|| "any".to_owned());
    let row = |r: &RevocationView| {
        let (kind, what, authority) = match &r.what {
            Revoked::Key { fingerprint } => ("key", fingerprint.clone(), String::new()),
            Revoked::KeySha1 { digest } => ("key", format!("SHA1 {digest}"), String::new()),
            Revoked::KeyId { authority, key_id } => ("id", key_id.escape_default().to_string(), of(authority)),
            Revoked::Serials { authority, from, to } if from == to => ("serial", from.to_string(), of(authority)),
            Revoked::Serials { authority, from, to } => ("serials", format!("{from}-{to}"), of(authority)),
        };
        vec![r.id.to_string(), kind.to_owned(), what, authority]
    };
    layout(&["ID", "KIND", "REVOKED", "AUTHORITY"], &list.iter().map(row).collect::<Vec<_>>())
}

/// An authenticator, for whoever sets up the app.
fn enrolled(new: &AuthenticatorView) -> String {
    let codes = new.recovery_codes.iter().map(|code| format!("    {code}\n")).collect::<String>();
    format!(
        "{} shows a code at each login from now on. None of this can be shown again.\n\nFor the app, by hand or as a QR \
         code:\n\n    {}\n    {}\n\nTo be kept elsewhere, each good for one login without the app:\n\n{codes}",
        new.user, new.secret, new.uri
    )
}

/// What an import did. A list that nobody would read to its end is cut.
fn imported(view: &ImportView) -> String {
    const MOST: usize = 200;
    let counts = |counts: &[(String, u64)]| match counts {
        [] => "nothing".to_owned(),
        some => some.iter().map(|(table, count)| format!("{count} {table}")).collect::<Vec<_>>().join(", "),
    };
    let mut lines = vec![format!("{}: {}", if view.dry_run { "would be added" } else { "added" }, counts(&view.added))];
    lines.push(format!("there already: {}", counts(&view.unchanged)));
    for (what, list) in [("new", &view.new), ("conflict", &view.conflicts), ("left behind", &view.left_behind)] {
        lines.extend(list.iter().take(MOST).map(|line| format!("{what}: {line}")));
        lines.extend((list.len() > MOST).then(|| format!("{what}: and {} more (--json lists all)", list.len() - MOST)));
    }
    if !view.conflicts.is_empty() {
        lines.push("With a conflict nothing is imported.".to_owned());
    }
    lines.join("\n")
}

/// Decisions, one in a line, each with its rule.
fn explained(view: &ExplanationView) -> String {
    let word = |verdict: &Verdict| if verdict.allowed { "allowed" } else { "denied" }.to_owned();
    let row = |answer: &Answer| {
        let Answer { attempt, verdict } = answer;
        vec![attempt.to_string(), word(verdict), verdict.rule.clone(), verdict.why.clone()]
    };
    let (login, at) = (&view.decided.login, times::shown(view.at));
    let by = view.shown.join(", ");
    let mut said = format!("login of {} by {by} from {} at {at}\n", view.user, view.from);
    said += &format!("{} ({}): {}", word(login), login.rule, login.why);
    if let Some(end) = view.decided.until {
        said += &format!("\nuntil {}", times::shown(end));
    }
    for Limited { what, most, rule } in &view.decided.limits {
        said += &format!("\nat most {} ({rule})", limit(what, *most));
    }
    if !view.decided.answers.is_empty() {
        let rows: Vec<_> = view.decided.answers.iter().map(row).collect();
        said += &format!("\n\n{}", layout(&["ASKED", "DECISION", "RULE", "WHY"], &rows));
    }
    said
}

/// A limit of a session in words.
fn limit(what: &str, most: u64) -> String {
    match what {
        "sessions" => format!("{most} at the same time on all nodes"),
        "lasting" => format!("{most} s long"),
        "idle" => format!("{most} s without a byte either way"),
        _ => ByteCount::try_from(most).map_or_else(|bad| bad.to_string(), |rate| format!("{rate} a second each way")),
    }
}

/// What a key may do, in one cell of a table.
fn scope(scope: &Scope) -> String {
    if scope.is_whole() {
        return "all of the user's".to_owned();
    }
    let mut said: Vec<String> = scope.paths.iter().flat_map(|paths| paths.iter()).map(ToString::to_string).collect();
    said.extend(scope.mode.map(|mode| mode.to_string()));
    said.extend(scope.services.map(|services| format!("only {services}")));
    said.extend(scope.no_terminal.then(|| "no terminal".to_owned()));
    said.extend(scope.forced_command.iter().map(|command| format!("runs {:?}", command.to_string())));
    said.extend(scope.permit_open.iter().map(|places| format!("connects to {places}")));
    said.extend(scope.permit_listen.iter().map(|places| format!("listens on {places}")));
    said.join("; ")
}

/// When and from where, in one cell of a table.
fn terms(terms: &Terms) -> String {
    let mut said = Vec::new();
    said.extend(terms.expires.map(|end| format!("until {}", times::shown(end))));
    said.extend(terms.sessions.at_once.map(|most| format!("at most {most} sessions")));
    said.extend(terms.hours.as_ref().map(ToString::to_string));
    said.extend(terms.sessions.lasting.map(|seconds| format!("sessions of at most {seconds} s")));
    said.extend(terms.sessions.idle.map(|seconds| format!("idle for at most {seconds} s")));
    said.extend(terms.sessions.bandwidth.map(|bandwidth| format!("{bandwidth} a second each way")));
    said.extend((!terms.from.is_everywhere()).then(|| format!("from {}", terms.from)));
    said.join("; ")
}

fn bans(list: &[Ban]) -> String {
    let row = |ban: &Ban| {
        let ends = ban.ends.map_or_else(|| "for ever".to_owned(), times::shown);
        vec![ban.who.to_string(), ends, ban.origin.as_str().to_owned(), ban.reason.clone()]
    };
    layout(&["BANNED", "UNTIL", "BY", "REASON"], &list.iter().map(row).collect::<Vec<_>>())
}

fn sessions(list: &[SessionView]) -> String {
    let row = |s: &SessionView| {
        vec![
            s.conn.to_string(),
            s.user.to_string(),
            s.account.to_string(),
            s.peer.clone(),
            match (&s.fingerprint, &s.certificate) {
                (_, Some(certificate)) => certificate.to_string(),
                (Some(key), None) => key.clone(),
                (None, None) => "password".to_owned(),
            },
            s.pid.to_string(),
            s.uid.to_string(),
            s.lingers_until
                .map_or("connected".to_owned(), |end| format!("lingers until {}", times::shown(Timestamp(end)))),
        ]
    };
    let heading = ["SESSION", "USER", "ACCOUNT", "FROM", "CREDENTIAL", "PID", "UID", "STATE"];
    layout(&heading, &list.iter().map(row).collect::<Vec<_>>())
}

/// An event on one line: when, who, from where, and what with its own fields.
pub(super) fn event(event: &serde_json::Value) -> String {
    const BEFORE: [&str; 8] = ["version", "time", "node", "account", "user", "source", "operator", "kind"];
    let text = |field: &str| event.get(field).and_then(serde_json::Value::as_str);
    let operator = event.get("operator").map(|uid| format!("operator {uid}"));
    let who = operator.or_else(|| text("user").map(ToOwned::to_owned)).unwrap_or_else(|| "-".to_owned());
    let mut said = vec![text("time").unwrap_or("-").to_owned(), who, text("source").unwrap_or("-").to_owned()];
    said.push(text("kind").unwrap_or("-").to_owned());
    let own = event.as_object().into_iter().flatten().filter(|(field, _)| !BEFORE.contains(&field.as_str()));
    for (field, value) in own.filter(|(field, _)| !["connection", "credential"].contains(&field.as_str())) {
        said.push(format!("{field}={value}"));
    }
    said.extend(text("connection").map(|connection| format!("connection={connection}")));
    said.join(" ")
}

fn changes(list: &[ChangedPath]) -> String {
    let row = |c: &ChangedPath| {
        let count = |what: &str, count: u64| (count > 0).then(|| format!("{what} {count}x"));
        let bytes = (c.bytes > 0).then(|| format!("{} bytes", c.bytes));
        let said = [
            count("created", c.created),
            count("written", c.written),
            bytes,
            count("renamed", c.renamed),
            count("altered", c.altered),
            count("removed", c.removed),
        ];
        let users = c.users.iter().cloned().collect::<Vec<_>>().join(", ");
        vec![c.path.clone(), users, said.into_iter().flatten().collect::<Vec<_>>().join(", "), c.last.clone()]
    };
    layout(&["PATH", "BY", "CHANGES", "LAST"], &list.iter().map(row).collect::<Vec<_>>())
}

/// Problems and warnings of a user.
type OfUser = (Vec<String>, Vec<String>);

/// Prints what was found of this host and of a user. It is a failure if a required layer does not hold, or the user could not
/// be served.
pub fn show_examined(layers: &[LayerReport], user: Option<&OfUser>, examination: &Examination) -> ExitCode {
    let required = &examination.node.monitor.require;
    let is_lacking = layers.iter().any(|l| l.missing.is_some() && required.contains(&l.layer));
    let has_problems = user.is_some_and(|(problems, _)| !problems.is_empty());
    let text = match examination.json {
        true => examined_json(layers, user),
        false => {
            Ok([Some(layer_table(layers)), user.map(of_user)].into_iter().flatten().collect::<Vec<_>>().join("\n"))
        }
    };
    let said = text.and_then(|text| say(&text));
    if let Err(error) = &said {
        eprintln!("enclos: {}", Causes(error));
    }
    if is_lacking || has_problems || said.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn of_user((problems, warnings): &OfUser) -> String {
    let lines =
        problems.iter().map(|p| format!("PROBLEM  {p}")).chain(warnings.iter().map(|w| format!("WARNING  {w}")));
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        "The grants of this user attach, and nothing in them leads out.".to_owned()
    } else {
        lines.join("\n")
    }
}

fn examined_json(layers: &[LayerReport], user: Option<&OfUser>) -> Result<String> {
    let object = |l: &LayerReport| serde_json::json!({ "layer": l.layer.to_string(), "holds": l.missing.is_none(), "why": l.missing });
    let layers = serde_json::Value::from(layers.iter().map(object).collect::<Vec<_>>());
    let all = match user {
        None => layers,
        Some((problems, warnings)) => {
            serde_json::json!({ "layers": layers, "problems": problems, "warnings": warnings })
        }
    };
    Ok(serde_json::to_string_pretty(&all)?)
}

fn layer_table(layers: &[LayerReport]) -> String {
    let row = |l: &LayerReport| match &l.missing {
        None => vec![l.layer.to_string(), "holds".to_owned(), String::new()],
        Some(why) => vec![l.layer.to_string(), "MISSING".to_owned(), why.clone()],
    };
    layout(&["LAYER", "STATE", "WHY"], &layers.iter().map(row).collect::<Vec<_>>())
}

/// What a node says when it listens.
pub fn greet(start: &Start, rootless: bool, layers: &[LayerReport], listen: &[SocketAddr]) {
    for address in listen {
        tracing::info!(%address, "listening");
    }
    if cfg!(feature = "weaken") {
        tracing::warn!("this build is for tests alone: who starts it can leave layers out (ENCLOS_WEAKEN)");
    }
    for report in layers {
        if let Some(why) = &report.missing {
            tracing::warn!(layer = %report.layer, why, "a layer of the cells does not hold");
        }
    }
    if let Some(greeting) = &start.greeting {
        // Nobody may be reading it; the node serves all the same.
        if let Err(error) = say(&greeting.render(rootless, &layer_table(layers), listen)) {
            tracing::warn!(error = %Causes(&error), "the greeting cannot be printed");
        }
    }
}
