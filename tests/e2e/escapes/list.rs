//! The attacks, as data. Adding one is a function or a row of a script, and an entry here.

use Means::{Captured, Clients, Forward, Packets, Program};

use super::clients::{self, Client};
use super::table::{Attack, Means, Protocol, Reason};
use super::world::Kind;
use super::{files, forwards, race, requests};

const EVERY: &[Client] = &Client::ALL;
const BUT_GIT: &[Client] = &[Client::Sftp, Client::Scp, Client::OldScp, Client::Rsync];
const ALONE: &[Client] = &[Client::OldScp, Client::Rsync, Client::Git];

const WRITABLE: &[Kind] = &[Kind::Rw, Kind::Nested];
const READ_ONLY: &[Kind] = &[Kind::Ro, Kind::Nested];

/// An attack that makes sense for every grant.
const fn attack(rows: &'static str, what: &'static str, means: &'static [Means]) -> Attack {
    Attack { rows, what, grants: &Kind::ALL, means }
}

impl Attack {
    const fn only(self, grants: &'static [Kind]) -> Attack {
        Attack { grants, ..self }
    }
}

/// Why a protocol cannot express an attack that does not name it.
pub(super) fn reason(attack: &Attack, protocol: Protocol) -> Reason {
    let by_packets = attack.means.iter().any(|m| matches!(m, Means::Packets(_)));
    let by_program = attack.means.iter().any(|m| matches!(m, Means::Program(_)));
    match protocol {
        Protocol::Sftp | Protocol::Scp if by_packets => Reason::Packets,
        Protocol::OldScp | Protocol::Rsync | Protocol::Git if by_program => Reason::SameCell,
        Protocol::Packets | Protocol::Sftp | Protocol::Scp if by_program => Reason::NoProgram,
        Protocol::Captured => Reason::NotThere,
        _ => Reason::NoRequest,
    }
}

/// All of them, in the order of the list of escapes (`X` and a number).
pub(super) const ALL: &[Attack] = &[
    attack(
        "X01",
        "absolute paths of the host and of the account",
        &[
            Captured("files_outside"),
            Clients(EVERY, clients::names),
            Packets(files::absolute),
            Program("x01_x02_x19_x20_paths_outside"),
        ],
    ),
    attack(
        "X02",
        "`..` in all its spellings",
        &[
            Captured("files_outside"),
            Clients(EVERY, clients::names),
            Packets(files::climbing),
            Program("x01_x02_x19_x20_paths_outside"),
        ],
    ),
    attack(
        "X03 X04 X24",
        "links of one's own, absolute, relative, chained",
        &[
            Clients(&[Client::Sftp, Client::Rsync], clients::own_links),
            Packets(files::own_links),
            Program("x03_x04_links"),
        ],
    ),
    attack(
        "X04",
        "links that others of the account left in the grant",
        &[Clients(EVERY, clients::planted_links), Packets(files::planted_links), Program("x04_planted_links")],
    ),
    attack(
        "X05",
        "making something at the end of a dangling link",
        &[
            Captured("writes_outside"),
            Clients(EVERY, clients::stores),
            Packets(files::dangling_links),
            Program("x05_x06_x09_writes"),
        ],
    ),
    attack(
        "X06 X08",
        "writing and changing attributes outside, by name and through links",
        &[
            Captured("writes_outside"),
            Clients(EVERY, clients::stores),
            Packets(files::writes),
            Program("x05_x06_x09_writes"),
        ],
    ),
    attack(
        "X07 X09 X10",
        "removing, renaming and linking across the border",
        &[
            Captured("writes_outside"),
            Clients(EVERY, clients::stores),
            Packets(files::moves),
            Program("x05_x06_x09_writes"),
        ],
    ),
    attack("X11", "hard links of the host's files, by descriptor", &[Program("x10_x11_links_of_the_hosts")]),
    attack(
        "X13 X14",
        "a directory exchanged with a link, beside every operation",
        &[Clients(BUT_GIT, clients::race), Packets(race::directories), Program("x13_x14_exchanged")],
    ),
    attack(
        "X13 X14",
        "a file exchanged with a link, beside every operation",
        &[Packets(race::files), Program("x13_x14_exchanged")],
    ),
    attack("X17", "`..` from a directory that was moved out", &[Packets(files::moved_out), Program("x17_moved_out")])
        .only(WRITABLE),
    attack("X17", "`..` from a directory that comes and goes", &[Packets(race::comes_and_goes)]),
    attack(
        "X18",
        "removing or renaming the grant itself",
        &[Packets(files::the_grant_itself), Program("x18_the_grant_itself")],
    ),
    attack(
        "X19 X20",
        "`/proc` of oneself and of others",
        &[
            Captured("files_outside"),
            Clients(EVERY, clients::names),
            Packets(files::through_proc),
            Program("x01_x02_x19_x20_paths_outside"),
        ],
    ),
    attack(
        "X21",
        "names beside and above the grant",
        &[
            Clients(&[Client::Sftp, Client::Rsync], clients::listings),
            Packets(files::listings),
            Program("x21_names_beside"),
        ],
    ),
    attack(
        "X22 X23",
        "what is there and what is not, told apart",
        &[Captured("files_outside"), Packets(files::guesses), Program("x23_what_is_there")],
    ),
    attack("X25", "places of the host in what is said", &[Packets(files::sentences)]),
    attack("X26", "extensions that tell of users", &[Packets(files::names_of_users)]),
    attack("X27", "forged, foreign and closed handles", &[Packets(files::handles)]),
    attack("X28", "names that are none, or too much of one", &[Packets(files::odd_names)]),
    attack("X29", "requests that are none, cut off or too long", &[Packets(requests::malformed)]),
    attack("X30", "pipes, sockets and devices in place of files", &[Packets(files::no_files)]),
    attack("X31", "offsets and sizes that no file has, and handles without end", &[Packets(requests::extremes)]),
    attack(
        "X33 X34 X35",
        "set-id bits and other owners",
        &[Packets(files::modes_and_owners), Program("x33_x34_set_ids")],
    ),
    attack(
        "X35 X36",
        "owners, capabilities and attributes of the system",
        &[Program("x35_x36_owners_and_capabilities")],
    ),
    attack("X37", "set-id programs of the host", &[Captured("ids_and_capabilities"), Program("x37_set_id_programs")]),
    attack("X38", "devices, made and opened", &[Program("x38_devices")]),
    attack("X22 X39", "attributes, watches and working directories outside", &[Program("x08_x22_x39_attributes")]),
    attack("X40", "signals and priorities of others", &[Captured("other_processes"), Program("x40_signals")]),
    attack("X41", "memory and descriptors of others", &[Captured("other_processes"), Program("x41_memory_of_others")]),
    attack("X20", "processes of others in `/proc`", &[Program("x20_processes_in_proc")]),
    attack("X42", "memory of the cell's first process", &[Program("x42_the_first_process")]),
    attack(
        "X43 X44",
        "sockets of the account and the host",
        &[Captured("sockets_and_shared_memory"), Program("x43_x44_sockets"), Forward(forwards::sockets)],
    ),
    attack("X44", "sockets made outside", &[Forward(forwards::made_sockets)]),
    attack("X45", "shared memory and queues", &[Captured("sockets_and_shared_memory"), Program("x45_shared_memory")]),
    attack("X46 X47", "keys, and the kernel's lists", &[Program("x46_x47_keys_and_the_kernels_lists")]),
    attack("X48 X49", "namespaces of one's own", &[Captured("namespaces_and_mounts"), Program("x48_x49_namespaces")]),
    attack("X50 X51 X53", "mounts", &[Captured("namespaces_and_mounts"), Program("x50_x51_x53_mounts")]),
    attack(
        "X52 X54 X55",
        "io_uring, bpf, files by handle and other insides of the kernel",
        &[Captured("insides_of_the_kernel"), Program("x52_x54_x55_the_kernels_insides")],
    ),
    attack(
        "X56",
        "sockets of other kinds",
        &[Captured("sockets_and_shared_memory"), Program("x56_sockets_of_other_kinds")],
    ),
    attack("X57", "other entries to the kernel", &[Program("x57_other_entries")]),
    attack("X58", "input of other terminals", &[Program("x58_terminals")]),
    attack(
        "X59 X60",
        "what is inherited: descriptors and environment",
        &[Captured("descriptors"), Program("x59_x60_what_is_inherited")],
    ),
    attack("X61 X62", "core dumps and floods of processes", &[Program("x61_x62_limits")]),
    attack("X64", "terminals of others, by taking them all", &[Program("x64_terminals")]),
    attack("X66 X67", "directories of the host, to write into", &[Program("x66_x67_the_hosts_directories")]),
    attack("X67", "the root of the cell, to write into", &[Program("x67_the_cells_root")]),
    attack("X68", "secrets of the host", &[Program("x68_secrets_of_the_host")]),
    attack("X69", "what the lists of the kernel tell", &[Program("x69_what_lists_tell")]),
    attack(
        "X72",
        "changes in a grant for reading",
        &[
            Captured("what_is_for_reading"),
            Clients(BUT_GIT, clients::read_only),
            Packets(files::read_only),
            Program("x72_read_only_grants"),
        ],
    )
    .only(READ_ONLY),
    attack(
        "X70",
        "options that name other places, or lists of names",
        &[Clients(&[Client::Rsync], clients::options_of_rsync)],
    )
    .only(&[Kind::Rw]),
    attack(
        "X70",
        "repositories that name objects and files elsewhere",
        &[Clients(&[Client::Git], clients::repositories)],
    )
    .only(&[Kind::Rw]),
    attack("X71", "subsystems by odd names", &[Clients(&[Client::Sftp], clients::subsystems)]).only(&[Kind::Rw]),
    attack("X71 X73", "commands inside of names, and other commands", &[Clients(ALONE, clients::other_commands)])
        .only(&[Kind::Rw]),
    attack(
        "X74",
        "services on localhost and addresses beyond",
        &[Captured("sockets_and_shared_memory"), Program("x74_network"), Forward(forwards::services)],
    ),
    attack(
        "X72",
        "what is hidden in the grant, and what others put into a drop box, by the server's own name for it",
        &[Captured("what_is_not_this_users")],
    )
    .only(&[Kind::Upload, Kind::Nested]),
    attack("X74", "a service of the host, beyond what forwards are permitted", &[Forward(forwards::not_permitted)]),
    attack("X74", "ports of the host to be listened on", &[Forward(forwards::ports)]),
    attack("X76", "programs of a grant without programs", &[Program("x76_programs_of_grants")]).only(&[Kind::Nested]),
    attack("X76", "leases, and projects of quotas", &[Program("x76_leases_and_projects")]),
];
