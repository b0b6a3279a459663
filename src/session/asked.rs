//! What a client asks a channel for, and what it gets: a user's services, its forced command, and the sentences for what is
//! not open. Pure.

use super::channels::refusal;
use crate::domain::{DirectCommand, ForcedCommand, Service};
use crate::wire::{Granted, Program};

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// A login shell.
    Shell,
    /// A command.
    Command(&'a [u8]),
    /// The subsystem `sftp`.
    Sftp,
    /// Another subsystem.
    Subsystem,
}

/// What it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// SFTP.
    Sftp,
    /// A program.
    Program(Program),
    /// Nothing: the sentence says why.
    Nothing(String),
}

/// What OpenSSH says where `internal-sftp` is forced; clients and people look for it.
const SFTP_ONLY: &str = "This service allows sftp connections only.";
/// What `SSH_ORIGINAL_COMMAND` says when the subsystem `sftp` was asked for.
const SFTP_COMMAND: &[u8] = b"internal-sftp";

impl Asked<'_> {
    /// As a fixed phrase, for sentences and the audit trail.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Asked::Shell => "a shell",
            Asked::Command(_) => "running commands",
            Asked::Sftp => "sftp",
            Asked::Subsystem => "this subsystem",
        }
    }
}

/// Decides. What is forced stands for a shell, a command and `sftp` alike, as OpenSSH's `ForceCommand` does; it needs a
/// service that runs commands, or `sftp` where that is what is forced.
pub(super) fn decide(asked: Asked<'_>, granted: &Granted) -> Given {
    let services = granted.services;
    let closed = || Given::Nothing(refusal(asked.phrase(), services));
    #[cfg(feature = "weaken")]
    let services = if crate::weaken::off(crate::weaken::Layer::AskedPrograms) {
        services.with(Service::Exec).with(Service::Shell)
    } else {
        services
    };
    let open = |service: Service| services.contains(service);
    match (asked, &granted.programs.forced_command) {
        (Asked::Subsystem, _) => closed(),
        (Asked::Sftp, Some(ForcedCommand::Sftp) | None) if open(Service::Sftp) => Given::Sftp,
        (Asked::Shell | Asked::Command(_), Some(ForcedCommand::Sftp)) => Given::Nothing(SFTP_ONLY.to_owned()),
        (asked, Some(ForcedCommand::Command(_))) if open(Service::Exec) || open(Service::Shell) => {
            let original = match asked {
                Asked::Command(command) => Some(command.to_vec()),
                Asked::Sftp => Some(SFTP_COMMAND.to_vec()),
                Asked::Shell | Asked::Subsystem => None,
            };
            Given::Program(Program::Forced { original })
        }
        (_, Some(_)) => closed(),
        (Asked::Shell, None) if open(Service::Shell) => Given::Program(Program::Shell),
        (Asked::Command(command), None) if open(Service::Exec) => Given::Program(Program::Command(command.to_vec())),
        // Looked at here for its sentence, and by the worker once more.
        (Asked::Command(line), None) if DirectCommand::are_any(services) => {
            match DirectCommand::parse(line, services, &granted.layout.home) {
                Ok(_) => Given::Program(Program::Direct(line.to_vec())),
                Err(why) => Given::Nothing(why.to_string()),
            }
        }
        _ => closed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Circumstances, explain};
    use crate::domain::{
        AccountFacts, AccountId, Attempt, Facts, KeyBlob, KeyFacts, Layout, ProgramPolicy, Proof, Scope, Services,
        Shown, Status, Terms, Timestamp, UploadPolicy, UserFacts, UserId,
    };

    fn granted(services: &str, forced: Option<&str>) -> Granted {
        Granted {
            user: "bob".parse().expect("a name"),
            account: "acme".parse().expect("a name"),
            owner: (5001, 5001),
            services: services.parse().expect("services"),
            home: "/srv/acme".parse().expect("a path"),
            layout: Layout { placed: Vec::new(), start: "/srv/acme/www".to_owned(), home: "/home/bob".to_owned() },
            uploads: UploadPolicy::default(),
            forwards: crate::domain::ForwardPolicy::default(),
            programs: ProgramPolicy {
                forced_command: forced.map(|text| text.parse().expect("a command")),
                ..ProgramPolicy::default()
            },
            bounds: Default::default(),
            takes_own_keys: false,
            last_login: None,
            cover: None,
        }
    }

    fn program(given: Given) -> Option<Program> {
        match given {
            Given::Program(program) => Some(program),
            _ => None,
        }
    }

    #[test]
    fn services_open_what_they_say() {
        let all = granted("sftp,shell,exec", None);
        assert_eq!(decide(Asked::Sftp, &all), Given::Sftp);
        assert_eq!(program(decide(Asked::Shell, &all)), Some(Program::Shell));
        assert_eq!(program(decide(Asked::Command(b"id"), &all)), Some(Program::Command(b"id".to_vec())));
        let few = granted("git,rsync", None);
        let line = b"git-upload-pack 'x'";
        assert_eq!(program(decide(Asked::Command(line), &few)), Some(Program::Direct(line.to_vec())));
        for asked in [Asked::Shell, Asked::Sftp, Asked::Subsystem, Asked::Command(b"id"), Asked::Command(b"scp -t x")] {
            assert!(matches!(decide(asked, &few), Given::Nothing(_)), "{asked:?}");
        }
        // With a shell that may be given commands, nothing of a line is looked at.
        let more = granted("git,exec", None);
        assert_eq!(program(decide(Asked::Command(line), &more)), Some(Program::Command(line.to_vec())));
    }

    #[test]
    fn what_is_forced_stands_for_everything() {
        let forced = granted("sftp,exec,git", Some("borg serve"));
        for (asked, original) in [
            (Asked::Shell, None),
            (Asked::Command(b"id"), Some(b"id".to_vec())),
            (Asked::Sftp, Some(b"internal-sftp".to_vec())),
        ] {
            assert_eq!(program(decide(asked, &forced)), Some(Program::Forced { original }));
        }
        assert!(matches!(decide(Asked::Subsystem, &forced), Given::Nothing(_)));
        assert!(matches!(decide(Asked::Sftp, &granted("sftp,git", Some("date"))), Given::Nothing(_)));
    }

    /// What somebody with these services, a key with those and this forced command is told of what is open.
    fn explained(services: Services, of_key: Option<Services>, forced: Option<&str>, tried: &[Service]) -> Vec<bool> {
        let user = granted("sftp", forced);
        let key = KeyFacts {
            fingerprint: "SHA256:x".to_owned(),
            home: "SHA256:x".to_owned(),
            certified: None,
            label: String::new(),
            scope: Scope { services: of_key, ..Scope::default() },
            terms: Terms::default(),
        };
        let account = AccountFacts {
            id: AccountId(1),
            name: user.account,
            uid: 5001,
            gid: 5001,
            home: user.home,
            status: Status::Active,
            terms: Terms::default(),
            limits: Default::default(),
        };
        let user = UserFacts {
            id: UserId(1),
            name: user.user,
            status: Status::Active,
            terms: Terms::default(),
            services,
            view: None,
            uploads: user.uploads,
            forwards: user.forwards,
            logins: Default::default(),
            principals: Default::default(),
            has_authenticator: false,
            own_keys: Default::default(),
            programs: user.programs,
            limits: Default::default(),
            last_login: None,
        };
        let as_of = Default::default();
        let facts =
            Facts { account, user, grants: Vec::new(), shown: Shown::Key(Box::new(key)), code_waived: false, as_of };
        let proof = Proof::Key(KeyBlob::new(vec![1]).expect("a key"));
        let at = Circumstances { now: Timestamp(1), from: "192.0.2.7".parse().expect("an address") };
        let tried: Vec<Attempt> = tried.iter().map(|service| Attempt::Service(*service)).collect();
        let explanation = explain(&[(proof, Some(facts))], &at, &tried);
        assert!(explanation.login.allowed);
        explanation.answers.iter().map(|answer| answer.verdict.allowed).collect()
    }

    /// Every set of services, with and without one that a key is bound to, and every kind of forced command.
    #[test]
    fn what_is_explained_is_what_is_given() {
        const TRIED: [(Service, Asked<'_>); 6] = [
            (Service::Sftp, Asked::Sftp),
            (Service::Shell, Asked::Shell),
            (Service::Exec, Asked::Command(b"id")),
            (Service::Git, Asked::Command(b"git-upload-pack 'x'")),
            (Service::Rsync, Asked::Command(b"rsync --server --sender -re.iLsfxCIvu . x")),
            (Service::Scp, Asked::Command(b"scp -f x")),
        ];
        let sets = |bits: u32| TRIED.iter().enumerate().filter(move |(n, _)| bits >> n & 1 == 1).map(|(_, (s, _))| *s);
        for (bits, key_bits, forced) in (0..64_u32).flat_map(|bits| {
            [None, Some(0b111), Some((bits << 1_u32) & 0b11_1111)].into_iter().flat_map(move |key| {
                [None, Some("borg serve"), Some("internal-sftp")].map(|forced| (bits, key, forced))
            })
        }) {
            let (services, of_key): (Services, Option<Services>) =
                (sets(bits).collect(), key_bits.map(|b| sets(b).collect()));
            let left = of_key.map_or(services, |only| services.and(only));
            let told = explained(services, of_key, forced, &TRIED.map(|(service, _)| service));
            for ((service, asked), told) in TRIED.into_iter().zip(told) {
                let granted = Granted { services: left, ..granted("sftp", forced) };
                let is_given = match (service, decide(asked, &granted)) {
                    (Service::Sftp, given) => given == Given::Sftp,
                    (Service::Shell, given) => matches!(given, Given::Program(Program::Shell | Program::Forced { .. })),
                    (Service::Exec, given) => {
                        matches!(given, Given::Program(Program::Command(_) | Program::Forced { .. }))
                    }
                    (_, given) => matches!(given, Given::Program(Program::Command(_) | Program::Direct(_))),
                };
                assert_eq!(told, is_given, "{service} of {services}, key {of_key:?}, forced {forced:?}");
            }
        }
    }

    #[test]
    fn forced_sftp_is_sftp_only() {
        let forced = granted("sftp,shell,exec,rsync", Some("internal-sftp"));
        assert_eq!(decide(Asked::Sftp, &forced), Given::Sftp);
        for asked in [Asked::Shell, Asked::Command(b"id")] {
            assert_eq!(decide(asked, &forced), Given::Nothing(SFTP_ONLY.to_owned()));
        }
        assert!(matches!(decide(Asked::Sftp, &granted("exec", Some("internal-sftp"))), Given::Nothing(_)));
    }
}
