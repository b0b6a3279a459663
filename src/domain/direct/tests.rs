//! What clients send is taken as they mean it, and everything that was ever used to break out of such services is not.

use super::*;

fn all() -> Services {
    DIRECT.into_iter().collect()
}

fn parse(line: &str) -> Result<Vec<String>, NotDirect> {
    let command = DirectCommand::parse(line.as_bytes(), all(), "/home/bob")?;
    Ok(command.arguments().iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// As rsync 3.5, git 2.47, OpenSSH 10, PuTTY, WinSCP and libssh2 send them.
#[test]
fn what_clients_send_is_taken() {
    for (line, words) in [
        ("rsync --server -logDtpre.iLsfxCIvu --delete . t/", "rsync|--server|-logDtpre.iLsfxCIvu|--delete|.|t/"),
        (
            "rsync --server --sender -de.LsfxCIvu --list-only . a",
            "rsync|--server|--sender|-de.LsfxCIvu|--list-only|.|a",
        ),
        (
            "rsync --server -vblogDtprze31.14iLsfxCIvu --bwlimit=10 --backup-dir bk --partial --link-dest ../prev . my\\ dir",
            "rsync|--server|-vblogDtprze31.14iLsfxCIvu|--bwlimit=10|--backup-dir|bk|--partial|--link-dest|../prev|.|my dir",
        ),
        (
            "rsync --server -logDtpre.iLsfxCIvu --log-format=%i --append --append --usermap=\\*:x . ~/t ./-x",
            "rsync|--server|-logDtpre.iLsfxCIvu|--log-format=%i|--append|--append|--usermap=*:x|.|/home/bob/t|./-x",
        ),
        ("git-upload-pack 're po'\\''s'", "git|upload-pack|re po's"),
        ("git-receive-pack '/srv/site/repo.git'", "git|receive-pack|/srv/site/repo.git"),
        ("git upload-archive '~/x'", "git|upload-archive|~/x"),
        ("git-upload-pack '~'", "git|upload-pack|~"),
        ("scp -r -p -t a", "scp|-r|-p|-t|a"),
        ("scp -pf 'a b'", "scp|-pf|a b"),
        ("scp -d -t -- -x", "scp|-d|-t|--|-x"),
        ("scp -v -f a b", "scp|-v|-f|a|b"),
        ("scp -t ~", "scp|-t|/home/bob"),
    ] {
        assert_eq!(parse(line).map(|w| w.join("|")), Ok(words.to_owned()), "{line}");
    }
}

#[test]
fn what_runs_another_program_is_not() {
    for line in [
        "rsync --server -e 'sh -c id' . x",
        "rsync --server -e sh . x",
        "rsync --server -vesh . x",
        "rsync --server -e.sh:x . x",
        "rsync --server -ve . x",
        "rsync --server --rsh=sh . x",
        "rsync --server --rsh sh . x",
        "rsync --server --rsync-path=sh . x",
        "rsync --server --daemon . x",
        "rsync --server --daemon --config=evil . x",
        "rsync --server --sender --log-file=/tmp/x . x",
        "rsync --server -M--daemon . x",
        "rsync --server -slogDtpre.iLsfxCIvu",
        "rsync --server --secluded-args . x",
        "rsync --server -logDtpre.iLsfxCIvu . x --daemon",
        "rsync --server -logDtpre.iLsfxCIvu . x -e sh",
        "rsync --server --backup-dir --daemon . x",
        "rsync --server --write-devices . x",
        "rsync --server --delete=x . x",
        "rsync --server -- . x",
        "rsync --server - . x",
        "rsync --server -logDtpre.iLsfxCIvu .",
        "rsync --server",
        "rsync --sender --server . x",
        "rsync --daemon",
        "rsync -a x host:y",
        "~/rsync --server . x",
        "/usr/bin/rsync --server . x",
        "sudo rsync --server . x",
        "RSYNC_RSH=sh rsync --server . x",
        "git-upload-pack '--upload-pack=sh' x",
        "git-upload-pack --strict x",
        "git-upload-pack '--upload-pack=sh'",
        "git-upload-pack x y",
        "git-upload-pack",
        "git-receive-pack --stateless-rpc x",
        "git receive-pack --advertise-refs x",
        "git -c core.sshCommand=sh upload-pack x",
        "git --exec-path=. upload-pack x",
        "git ~/upload-pack x",
        "git shell",
        "git-shell x",
        "git-daemon",
        "git-lfs-authenticate x download",
        "scp -S sh -t x",
        "scp -Ssh -t x",
        "scp -t x -S sh",
        "scp -oProxyCommand=sh -t x",
        "scp -vS sh -f x",
        "scp x host:y",
        "scp -t -f x",
        "scp -t",
        "scp -t a b",
        "scp -t -",
        "sh -c id",
        "",
        "'' x",
        "id",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn one_service_opens_its_own_program_alone() {
    let only = |service| Services::NONE.with(service);
    for (line, service) in
        [("rsync --server -e.L . x", Service::Rsync), ("git-upload-pack x", Service::Git), ("scp -t x", Service::Scp)]
    {
        for open in DIRECT {
            let taken = DirectCommand::parse(line.as_bytes(), only(open), "/");
            assert_eq!(taken.is_ok(), open == service, "{line} with {open}");
        }
    }
    let refused = DirectCommand::parse(b"rsync --server --daemon . x", only(Service::Git), "/").expect_err("not open");
    assert_eq!(refused.to_string(), "\"rsync\" is not open to this login; it may run: git");
}
