//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::forward_options::ForwardOptions;
use super::limit_options::LimitOptions;
use super::program_options::ProgramOptions;
use super::terms_options::{KeyOptions, ScopeOptions, TermsOptions};
use super::upload_options::UploadOptions;
use super::view_setting::ViewSetting;
use crate::domain::{AccountName, Block, HomePath, Mode, RelPath, Service, Timestamp, UserName, View};

/// An SSH server for shared accounts: every login is kept by the kernel inside its own part of one account.
///
/// This release serves SFTP and, to logins with the services for it, programs of the host in a cell of their own, and
/// forwards of ports, sockets and agents from and to that cell.
#[derive(Debug, Parser)]
#[command(name = "enclos", version)]
pub(super) struct Arguments {
    /// Configuration file [default: /etc/enclos/enclos.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// State directory, whatever the configuration says
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a node in the foreground
    Serve,
    /// Set up a demo account with two users and serve it
    Quickstart(Quickstart),
    /// Read the configuration and say whether it is good
    CheckConfig,
    Doctor(super::start::Doctor),
    /// Say whether a node runs here and whether its database answers
    Status,
    Upgrade(super::upgrade::Upgrade),
    /// Accounts: a name, the owner of the files, and the tree they lie in
    #[command(subcommand)]
    Account(Account),
    /// Users of an account
    #[command(subcommand)]
    User(Box<User>),
    /// Directories that a user may reach
    #[command(subcommand)]
    Grant(Grant),
    /// Limits of what directories take on disk, where their filesystem has quotas of projects
    #[command(subcommand)]
    Quota(super::quotas::Quota),
    /// Public keys of a user
    #[command(subcommand)]
    Key(Key),
    /// Authorities whose OpenSSH certificates are taken, and what is revoked
    #[command(subcommand)]
    Ca(Box<Ca>),
    /// Invite somebody to use a login: prints a one-time name, for ssh with any key, which becomes the user's
    Invite(Invite),
    /// Invitations that were made
    #[command(subcommand)]
    Invitation(Invitation),
    /// Set or remove the password of a user
    Passwd(Passwd),
    /// Authenticators: a code of six digits from an app, besides a key or a password
    #[command(subcommand)]
    Totp(Totp),
    /// Say what a login comes to and what it could do, each with the rule that decides
    Explain(Box<Explain>),
    /// Write everything that the database knows, as JSON
    Export(Export),
    /// Put into the database what an export says, or what another server knows
    Import(Import),
    /// Addresses, networks and names that are not let in, on all nodes
    #[command(subcommand)]
    Ban(Ban),
    /// Live sessions of the node that runs here
    #[command(subcommand)]
    Session(Session),
    /// Host keys, by which clients know this server
    #[command(subcommand)]
    HostKey(HostKey),
    /// Search what happened: who came in, was refused, ran, forwarded and changed what
    ///
    /// With --json one object a line, as docs/audit.md has it. What somebody changed this week: --user NAME --since 7d --summary
    Audit(Box<super::audit::Audit>),
}

#[derive(Debug, Args)]
pub(super) struct Quickstart {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<std::net::SocketAddr>,
    /// Kinds of host keys to make: ed25519, ecdsa, rsa
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_value = "ed25519")]
    pub(super) host_key: Vec<super::host_keys::Kind>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Add an account
    Add {
        name: AccountName,
        /// User id that owns its files
        #[arg(long)]
        uid: u32,
        /// Group id that owns its files
        #[arg(long)]
        gid: u32,
        /// The tree that all grants lie in
        #[arg(long, value_name = "PATH")]
        home: HomePath,
    },
    /// Change when and from where all its users may log in, and what their programs may take together
    Set {
        name: AccountName,
        #[command(flatten)]
        terms: TermsOptions,
        #[command(flatten)]
        limits: LimitOptions,
    },
    /// List all accounts
    List,
    /// Show one account
    Show { name: AccountName },
    /// Let its users log in again
    Enable { name: AccountName },
    /// Let nobody of it log in, and end its sessions
    Disable { name: AccountName },
    /// Remove an account; its files are untouched
    Remove {
        name: AccountName,
        /// Remove its users too
        #[arg(long)]
        with_users: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user
    Add {
        name: UserName,
        /// The account it belongs to
        #[arg(long)]
        account: AccountName,
        /// What it may open: sftp, scp, exec, shell, git, rsync, forward-local, forward-remote, agent
        #[arg(long, value_delimiter = ',', default_value = "sftp")]
        service: Vec<Service>,
        /// How it sees its grants: host (the paths of the host) or rooted (/ is the grant) [default: host for those who
        /// run programs (shell, exec, scp, git, rsync), else rooted]
        #[arg(long)]
        view: Option<View>,
        #[command(flatten)]
        uploads: UploadOptions,
        #[command(flatten)]
        forwards: ForwardOptions,
        #[command(flatten)]
        programs: ProgramOptions,
        #[command(flatten)]
        limits: LimitOptions,
    },
    /// Change settings of a user
    ///
    /// What is not named stays. Sessions see it from the next login on, but for what is taken away (names, sizes, services,
    /// places, networks, terminals, time and addresses, memory, processes and processor time; another shell or forced command): that ends the sessions it concerns.
    Set {
        name: UserName,
        /// How it sees its grants from the next login on: host, rooted, or default (as its services suggest)
        #[arg(long, value_name = "VIEW")]
        view: Option<ViewSetting>,
        /// What it may open, in place of what it could before
        #[arg(long, value_delimiter = ',')]
        service: Vec<Service>,
        #[command(flatten)]
        uploads: UploadOptions,
        #[command(flatten)]
        forwards: ForwardOptions,
        #[command(flatten)]
        terms: TermsOptions,
        /// What it has to show at a login: publickey, password, or several at once such as publickey+totp; give it once for each
        /// way in, which replaces all earlier ones; none for a key or a password, with a code if it has an authenticator
        #[arg(long, value_name = "WAY")]
        login: Vec<String>,
        /// Name that a certificate has to be made out to, in place of its own; give it once for each, which replaces all earlier
        /// ones; none for its own
        #[arg(long, value_name = "NAME")]
        principal: Vec<String>,
        /// Take the keys that it puts into its own ~/.ssh/authorized_keys, as ssh-copy-id does: those that stand there already
        /// among them. No more of them when no
        #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes")]
        own_keys: Option<YesOrNo>,
        #[command(flatten)]
        programs: ProgramOptions,
        #[command(flatten)]
        limits: LimitOptions,
    },
    /// List users
    List {
        /// Only those of one account
        #[arg(long)]
        account: Option<AccountName>,
    },
    /// Show one user with its grants
    Show { name: UserName },
    /// Let it log in again
    Enable { name: UserName },
    /// Let it log in no more, and end its sessions
    Disable { name: UserName },
    /// Remove it with its grants and credentials, and end its sessions
    Remove { name: UserName },
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum YesOrNo {
    Yes,
    No,
}

#[derive(Debug, Subcommand)]
pub(super) enum Grant {
    /// Let a user reach a directory, or change its rights there
    Add {
        user: UserName,
        /// Path below the account's home
        path: RelPath,
        /// rw, ro, upload (may make new files, and neither list nor read) or hidden (takes a part out of another grant)
        #[arg(long, default_value = "rw")]
        mode: Mode,
        /// Let no program be run that lies there. Sessions without a shell can run nothing anyway
        #[arg(long)]
        noexec: bool,
        /// Make the directory, owned by the account, if it is missing
        #[arg(long)]
        create: bool,
    },
    /// List grants
    List {
        /// Only those of one user
        user: Option<UserName>,
    },
    /// Take a grant away; sessions of the user end if it may do less without it (a hidden part shows again)
    Remove {
        user: UserName,
        /// Path below the account's home
        path: RelPath,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Add public keys
    ///
    /// Options of OpenSSH's in front of a key (restrict, from="...", expiry-time="...", ...) are honoured, or the file is
    /// refused with the line and the reason. A scope narrows what the user may do, for this key alone.
    Add {
        user: UserName,
        /// File with keys as ssh-keygen or authorized_keys has them; - for standard input
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        options: KeyOptions,
    },
    /// Change what a key is good for; what is not named stays. Sessions end that it would not let in any more
    Set {
        user: UserName,
        /// Its number or fingerprint
        key: String,
        #[command(flatten)]
        options: KeyOptions,
    },
    /// List the keys of a user
    List { user: UserName },
    /// Remove a key, and end the sessions that logged in with it
    Remove {
        user: UserName,
        /// Its number or fingerprint
        key: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Take the certificates of an authority
    Add(Box<CaAdd>),
    /// List all authorities
    List,
    /// Take its certificates no more, and end the sessions that logged in with them
    Remove {
        /// Its number or fingerprint
        authority: String,
    },
    /// Believe a key or certificates no more, for anybody on any node, and end the sessions that rest on them
    Revoke(Revoke),
    /// List what is revoked
    Revoked,
    /// Believe something again
    Unrevoke {
        /// Its number, from: enclos ca revoked
        id: i64,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("holder").required(true))]
pub(super) struct CaAdd {
    /// For the users of this account
    #[arg(long, group = "holder")]
    pub(super) account: Option<AccountName>,
    /// For this user alone, and before others with the same key
    #[arg(long, group = "holder")]
    pub(super) user: Option<UserName>,
    /// For all users of all accounts
    #[arg(long, group = "holder")]
    pub(super) everybody: bool,
    /// File with its public key as ssh-keygen has it, or with options as authorized_keys has it; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Name that a certificate has to be made out to, in place of the user's own; give it once for each
    #[arg(long, value_name = "NAME")]
    pub(super) principal: Vec<String>,
    #[command(flatten)]
    pub(super) options: KeyOptions,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Revoke {
    /// File with public keys, which are then good for nobody, as an authority's neither; or with certificates, each of which is
    /// revoked by its serial number, or by its key id if it has none; - for standard input
    #[arg(long, value_name = "FILE", group = "what")]
    pub(super) file: Option<PathBuf>,
    /// Key revocation list that ssh-keygen -k has written; what is on it is added to what is revoked
    #[arg(long, value_name = "FILE", group = "what")]
    pub(super) krl: Option<PathBuf>,
    /// Serial number of certificates, or a range of them such as 10-20
    #[arg(long, value_name = "NUMBER", group = "what", requires = "ca")]
    pub(super) serial: Option<String>,
    /// Key id of certificates
    #[arg(long, value_name = "TEXT", group = "what", requires = "ca")]
    pub(super) id: Option<String>,
    /// The authority that signed them, by its number or fingerprint
    #[arg(long, value_name = "CA")]
    pub(super) ca: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Invite {
    /// Whose key it will be
    pub(super) user: UserName,
    /// Until when it can be taken up: 30m, 12h, 2d, 1w from now, or a time such as 2026-12-31
    #[arg(long, value_name = "TIME", default_value = "2d")]
    pub(super) expires: String,
    /// What the key will be labelled
    #[arg(long, value_name = "TEXT")]
    pub(super) label: Option<String>,
    #[command(flatten)]
    pub(super) scope: ScopeOptions,
}

#[derive(Debug, Subcommand)]
pub(super) enum Invitation {
    /// List them
    List {
        /// Only those of one user
        user: Option<UserName>,
    },
    /// Withdraw one that nobody has taken up; of one that was, remove the key: enclos key remove
    Withdraw {
        /// Its number
        id: i64,
    },
}

#[derive(Debug, Args)]
pub(super) struct Passwd {
    pub(super) user: UserName,
    /// Read the password from standard input, up to the first line break
    #[arg(long, conflicts_with = "remove")]
    pub(super) stdin: bool,
    /// Read the hash of a password in place of a password, as it stands in /etc/shadow, htpasswd or LDAP. It is replaced by an
    /// argon2id hash when the user types the password
    #[arg(long, conflicts_with = "remove")]
    pub(super) hash: bool,
    /// Remove the password
    #[arg(long)]
    pub(super) remove: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Totp {
    /// Give a user an authenticator; prints its secret and recovery codes, once
    Enrol { user: UserName },
    /// Take it away
    Remove { user: UserName },
}

/// Say what a login comes to and what it could do, each with the rule that decides
///
/// Nothing is tried: the rules are asked that let in and refuse. Owners and permissions on disk are not looked at. What can
/// be asked may be given several times.
#[derive(Debug, Args)]
pub(super) struct Explain {
    pub(super) user: UserName,
    /// File with the public key or the certificate that is shown, or the number or fingerprint of a key of the user's
    #[arg(long, value_name = "FILE", required_unless_present = "password")]
    pub(super) key: Option<PathBuf>,
    /// The right password is shown
    #[arg(long)]
    pub(super) password: bool,
    /// A right code of the authenticator is shown
    #[arg(long)]
    pub(super) totp: bool,
    /// Address from which the login comes
    #[arg(long, value_name = "IP")]
    pub(super) from: std::net::IpAddr,
    /// When: 2026-12-31, 2026-12-31T18:00 or 2026-12-31T18:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = super::terms_options::time)]
    pub(super) at: Option<crate::domain::Timestamp>,
    /// Whether a file or directory could be made or written: a path below the account's home, or the whole path on the host
    #[arg(long, value_name = "PATH")]
    pub(super) write: Vec<String>,
    /// Whether a file could be read or a directory listed
    #[arg(long, value_name = "PATH")]
    pub(super) read: Vec<String>,
    /// Whether a service is open
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    pub(super) service: Vec<Service>,
    /// Whether a connection would be made to there (ssh -L)
    #[arg(long, value_name = "HOST:PORT", value_parser = super::explain::place)]
    pub(super) forward: Vec<(String, u16)>,
}

/// Write everything that the database knows, as JSON
///
/// Accounts, users, grants, keys, hashes of passwords, secrets of authenticators and policies, as they were at one moment. The
/// file holds secrets: only its owner may read it (mode 0600), and it should be kept as the database is.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// File to write, which must not exist yet; - for standard output
    pub(super) file: PathBuf,
}

/// Put into the database what an export says, or what another server knows
///
/// Everything is put into it or nothing. What is there already and says the same is left alone; what says something else is
/// named, and then nothing is imported.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Import {
    /// File that enclos export has written; - for standard input
    #[arg(required = true)]
    pub(super) file: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long, global = true)]
    pub(super) dry_run: bool,
    #[command(subcommand)]
    pub(super) from: Option<ImportFrom>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImportFrom {
    /// The users of OpenSSH and the system: an account for each, or a user of the account that has its uid
    ///
    /// Keys with their options, hashes of passwords, and what sshd_config says of each: ChrootDirectory, ForceCommand
    /// internal-sftp, forwards, terminals, ways to log in, who is kept out. What cannot be carried over is named with its line.
    Openssh {
        /// /etc/passwd, or a copy
        #[arg(long, value_name = "FILE")]
        passwd: PathBuf,
        /// /etc/shadow, or a copy; without it nobody gets a password
        #[arg(long, value_name = "FILE")]
        shadow: Option<PathBuf>,
        /// /etc/group, or a copy; for Match Group and AllowGroups
        #[arg(long, value_name = "FILE")]
        group: Option<PathBuf>,
        /// /etc/ssh/sshd_config, or a copy
        #[arg(long, value_name = "FILE")]
        sshd_config: Option<PathBuf>,
        /// Directory beneath which the homes lie, for their keys; / on the host itself
        #[arg(long, value_name = "DIR", default_value = "/")]
        home_root: PathBuf,
    },
    /// The users of SFTPGo
    Sftpgo {
        /// What its dumpdata has written
        file: PathBuf,
        #[command(flatten)]
        owners: OwnerOptions,
    },
    /// The users of ProFTPD's mod_sql, out of a dump or a live database
    Proftpd {
        /// SQL as mysqldump, pg_dump or sqlite3 write it
        #[arg(required_unless_present = "database")]
        file: Option<PathBuf>,
        /// The database itself: a file of SQLite or postgres://...
        #[arg(long, value_name = "URL", conflicts_with = "file")]
        database: Option<String>,
        /// Its table of users
        #[arg(long, value_name = "NAME", default_value = "users")]
        users_table: String,
        /// Its table of keys
        #[arg(long, value_name = "NAME", default_value = "sftpuserkeys")]
        keys_table: String,
        #[command(flatten)]
        owners: OwnerOptions,
    },
}

#[derive(Debug, Args)]
pub(super) struct OwnerOptions {
    /// User id that owns the files of whom nothing else is said
    #[arg(long, requires = "gid")]
    pub(super) uid: Option<u32>,
    /// Group id that owns them
    #[arg(long, requires = "uid")]
    pub(super) gid: Option<u32>,
    /// One account for all of them, in place of one for each
    #[arg(long, value_name = "NAME", requires = "home")]
    pub(super) account: Option<AccountName>,
    /// The home of that account, in which all their directories lie
    #[arg(long, value_name = "PATH", requires = "account")]
    pub(super) home: Option<HomePath>,
}

#[derive(Debug, Subcommand)]
pub(super) enum HostKey {
    /// List them with their fingerprints
    List,
    /// Print lines for the known_hosts of clients
    KnownHosts {
        /// Name or address that clients connect to
        host: String,
    },
    /// Print SSHFP records for the DNS
    Sshfp {
        /// Name of the host
        host: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Ban {
    /// Let nobody in who comes from there, or by that name; their sessions end on all nodes
    Add {
        #[command(flatten)]
        target: BanTarget,
        /// How long: 90s, 15m, 2h, 7d [default: for ever]
        #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
        lasts: Option<super::bans::Lasting>,
        /// Until when: 2026-12-31, 2026-12-31T18:00 (in this host's zone) or 2026-12-31T18:00:00Z
        #[arg(long, value_name = "TIME", value_parser = super::terms_options::time)]
        until: Option<Timestamp>,
        /// Why, for whoever reads the list or the log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List bans, and the sources that are turned away for what they did
    List,
    /// Let them in again, whether somebody or a penalty had banned them
    Remove {
        #[command(flatten)]
        target: BanTarget,
    },
}

#[derive(Debug, Args)]
pub(super) struct BanTarget {
    /// An address or a network: 192.0.2.7, 192.0.2.0/24, 2001:db8::/48
    pub(super) address: Option<Block>,
    /// A login name, wherever it comes from, or from that address alone
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<UserName>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List live sessions
    List,
    /// End one
    Kill {
        /// Its number
        conn: u64,
    },
}
