//! Rows of the list of escapes that are no attack of one client on one grant: which test has them, or why none can. With the
//! matrix that is the whole list.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::list::ALL;
use crate::harness::{Identity, Node, finish, installed};

as_root_and_rootless!(names_of_accounts_users_and_grants_lead_nowhere);

/// How many rows the list has.
const ROWS: usize = 80;

/// Row, what it is, and the tests that have it: a part of each one's name.
const PROVED: &[(&str, &str, &[&str])] = &[
    (
        "X12",
        "a hard link that was there before: `enclos doctor --user` tells of it",
        &["doctor::as_root::what_leads_out_of_grants_is_warned_of"],
    ),
    (
        "X15",
        "what is granted is exchanged while it is attached",
        &[
            "confinement::as_root::a_grant_that_is_a_link_is_not_served",
            "programs::attacks::as_root::what_is_exchanged_while_a_cell_is_built_leads_nowhere",
            "programs::attacks::as_root::what_is_replaced_under_a_nested_grant_ends_the_cell",
            "views::swapped::as_root::what_is_swapped_after_the_login_stays_closed",
        ],
    ),
    (
        "X16",
        "`..` and `/` in names of accounts, users and grants",
        &["escapes::elsewhere::as_root::names_of_accounts_users_and_grants_lead_nowhere"],
    ),
    (
        "X32",
        "disks, tables of files and quotas that fill up",
        &[
            "uploads::space::as_root::a_full_disk_is_told_from_a_full_table_of_files_and_df_is_true",
            "uploads::quotas::where_the_filesystem_counts::as_root::programs_meet_the_quota_and_cannot_leave_it",
        ],
    ),
    (
        "X63",
        "hogs of memory and processor time",
        &[
            "programs::hogs::as_root::a_memory_hog_ends_alone",
            "programs::hogs::as_root::processor_time_is_bounded",
            "programs::hogs::as_root::the_programs_of_an_account_are_bounded_together",
        ],
    ),
    (
        "X65",
        "programs that stay when their connection is gone",
        &[
            "programs::attacks::as_root::a_session_that_does_not_hang_up_keeps_no_program",
            "programs::cell::as_root::revoking_ends_every_program",
            "programs::lingering::as_root::the_time_to_linger_ends",
        ],
    ),
    (
        "X73",
        "a command or shell of somebody with files alone",
        &[
            "login::as_root::a_user_with_sftp_gets_neither_shell_nor_command",
            "programs::services::as_root::nothing_else_is_run",
        ],
    ),
    (
        "X75",
        "descriptors that are passed on",
        &[
            "programs::attacks::with_root_only::as_root::a_captured_session_sends_no_descriptor",
            "programs::attacks::as_root::descriptors_under_way_shut_nobody_out",
            "programs::cell::as_root::users_of_one_account_do_not_meet",
        ],
    ),
    (
        "X79",
        "a key that may do less in a cell of one that may do more, and cells from before a change",
        &[
            "credentials::keys::as_root::a_key_with_a_scope_has_a_home_and_a_cell_of_its_own",
            "programs::attacks::as_root::rights_that_shrink_end_the_cell",
            "credentials::own_keys::as_root::lines_of_a_user_do_no_more_than_the_user_may",
        ],
    ),
    (
        "X80",
        "sessions and programs of who was disabled, or whose time is over",
        &[
            "login::as_root::a_disabled_user_is_refused_and_its_live_sessions_end",
            "programs::attacks::as_root::revoking_comes_in_between",
            "nodes::as_root::everything_of_a_revoked_login_is_gone_in_a_second",
            "limits::as_root::a_session_ends_when_its_time_is_over",
        ],
    ),
];

/// Row, what it is, and why nothing here can keep it.
const BEYOND: &[(&str, &str, &str)] = &[
    ("X77", "a web server runs what was uploaded", "it runs as the account, outside of every cell: see SECURITY.md"),
    ("X78", "the owner runs what was left in a grant (hooks, makefiles)", "the owner may do all that the account may"),
];

/// The list is whole, and what it names is there. Leaves the rows for the table.
#[test]
fn every_row_of_the_list_is_attempted_or_proved_elsewhere() {
    let own = std::env::current_exe().expect("this program");
    let tests = finish(Command::new(own).arg("--list"), "").ok();
    let missing: Vec<&&str> =
        PROVED.iter().flat_map(|(_, _, names)| *names).filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "there are no such tests: {missing:?}");
    let attempted = ALL.iter().flat_map(|attack| attack.rows.split_whitespace());
    let elsewhere = PROVED.iter().map(|(row, ..)| *row).chain(BEYOND.iter().map(|(row, ..)| *row));
    let rows: BTreeSet<&str> = attempted.chain(elsewhere).collect();
    let expected: Vec<String> = (1..=ROWS).map(|row| format!("X{row:02}")).collect();
    assert_eq!(rows.into_iter().collect::<Vec<_>>(), expected);
    let by_name = |name: &&str| format!("`{}`", name.rsplit("::").next().unwrap_or(name));
    let proved = PROVED.iter().map(|(row, what, names)| {
        format!("{row}|{what}|{}\n", names.iter().map(by_name).collect::<Vec<_>>().join(", "))
    });
    let beyond = BEYOND.iter().map(|(row, what, why)| format!("{row}|{what}|not kept: {why}\n"));
    let place = installed().join("rows/escapes");
    fs::create_dir_all(&place).expect("a place for rows");
    fs::write(place.join("elsewhere"), proved.chain(beyond).collect::<String>()).expect("write the table");
}

/// Whoever may say names to the command line says none that is a way.
fn names_of_accounts_users_and_grants_lead_nowhere(identity: Identity) {
    let (node, _) = Node::with_bob(identity);
    let before = (node.admin(&["grant", "list", "--json"]), node.admin(&["account", "list", "--json"]));
    for path in [
        "..",
        "../other",
        "/etc",
        "www/../../other",
        "www/..",
        "./../x",
        "www/./../..",
        "www/\u{1}x/..",
        ".enclos/../..",
    ] {
        for mode in ["rw", "ro", "hidden"] {
            let said = finish(&mut node.enclos(&["grant", "add", "bob", path, "--mode", mode, "--create"]), "");
            assert!(!said.status.success(), "{path:?} {mode}: {said:?}");
        }
    }
    let home = node.home("acme");
    let home = home.to_str().expect("a plain path");
    let ids = ["--uid", "5009", "--gid", "5009", "--home"];
    for name in ["..", ".", "a/b", "../acme", "/etc", "a\nb", "A", "-x", "a b", ""] {
        let account = [&["account", "add", name], &ids[..], &[home]].concat();
        let user = ["user", "add", name, "--account", "acme"];
        for arguments in [&account[..], &user[..]] {
            let said = finish(&mut node.enclos(arguments), "");
            assert!(!said.status.success(), "{arguments:?}: {said:?}");
        }
    }
    for home in ["srv", "/", "/srv/../..", "/srv/..", "/srv/./x/../.."] {
        let account = [&["account", "add", "beta"], &ids[..], &[home]].concat();
        let said = finish(&mut node.enclos(&account), "");
        assert!(!said.status.success(), "{home:?}: {said:?}");
    }
    let after = (node.admin(&["grant", "list", "--json"]), node.admin(&["account", "list", "--json"]));
    assert_eq!(before, after);
}
