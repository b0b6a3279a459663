//! `sshd_config` (sshd_config(5)): what it says of one user. Of several values the first counts; a `Match` block's before
//! those of the beginning.

/// One directive and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) line: usize,
    /// In small letters.
    name: String,
    value: String,
}

/// The conditions of a block: all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Conditions {
    users: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    /// Something that is not known of a user, such as an address.
    others: bool,
}

#[derive(Debug, Default)]
struct Block {
    conditions: Conditions,
    directives: Vec<Directive>,
}

/// A whole file.
#[derive(Debug, Default)]
pub(super) struct SshdConfig {
    global: Vec<Directive>,
    blocks: Vec<Block>,
    /// Lines that say nothing to us, each with what is to be said of it.
    pub(super) left: Vec<(usize, String)>,
}

/// A user and the groups it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) name: &'a str,
    pub(super) groups: &'a [String],
}

/// What is carried over.
const KNOWN: [&str; 19] = [
    "allowagentforwarding",
    "allowgroups",
    "allowstreamlocalforwarding",
    "allowtcpforwarding",
    "allowusers",
    "authenticationmethods",
    "authorizedkeysfile",
    "chrootdirectory",
    "denygroups",
    "denyusers",
    "disableforwarding",
    "forcecommand",
    "passwordauthentication",
    "permitlisten",
    "permitopen",
    "permittty",
    "pubkeyauthentication",
    "subsystem",
    "banner",
];

/// What another server does in its own way, and what needs no word.
const OWN: [&str; 34] = [
    "acceptenv",
    "addressfamily",
    "ciphers",
    "clientalivecountmax",
    "clientaliveinterval",
    "compression",
    "hostkey",
    "hostkeyalgorithms",
    "kbdinteractiveauthentication",
    "challengeresponseauthentication",
    "kexalgorithms",
    "listenaddress",
    "logingracetime",
    "loglevel",
    "macs",
    "maxauthtries",
    "maxsessions",
    "maxstartups",
    "permitemptypasswords",
    "permitrootlogin",
    "permituserenvironment",
    "permituserrc",
    "pidfile",
    "port",
    "printlastlog",
    "printmotd",
    "protocol",
    "pubkeyacceptedalgorithms",
    "strictmodes",
    "syslogfacility",
    "tcpkeepalive",
    "usedns",
    "usepam",
    "x11forwarding",
];

impl SshdConfig {
    /// Reads a file. What it cannot say of a user is named, and never guessed.
    pub(super) fn parse(text: &str) -> SshdConfig {
        let mut config = SshdConfig::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
            let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim().to_owned();
            config.take(Directive { line: number, name: name.to_ascii_lowercase(), value });
        }
        config
    }

    fn take(&mut self, directive: Directive) {
        match directive.name.as_str() {
            "match" => {
                let conditions = self.conditions(&directive);
                self.blocks.push(Block { conditions, directives: Vec::new() });
            }
            "include" => {
                let what = format!("Include {} is not followed; import its files one after the other", directive.value);
                self.left.push((directive.line, what));
            }
            name if KNOWN.contains(&name) => match self.blocks.last_mut() {
                Some(block) => block.directives.push(directive),
                None => self.global.push(directive),
            },
            name if OWN.contains(&name) => {}
            name => self.left.push((directive.line, format!("{name} is not carried over"))),
        }
    }

    fn conditions(&mut self, directive: &Directive) -> Conditions {
        let mut found = Conditions::default();
        let words = words(&directive.value);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_ascii_lowercase(), value.to_owned()),
                None if word.eq_ignore_ascii_case("all") => continue,
                None => (word.to_ascii_lowercase(), words.next().cloned().unwrap_or_default()),
            };
            let list = || Some(value.split(',').map(str::to_owned).collect());
            match name.as_str() {
                "user" => found.users = list(),
                "group" => found.groups = list(),
                _ => {
                    found.others = true;
                    self.left.push((
                        directive.line,
                        format!("this block holds by {name}, which no user of ours has; it is left out"),
                    ));
                }
            }
        }
        found
    }

    /// The first directive by a name that holds for a user.
    pub(super) fn of(&self, who: Who<'_>, name: &str) -> Option<&Directive> {
        let matching = self.blocks.iter().filter(|block| block.conditions.hold(who));
        let in_blocks = matching.flat_map(|block| &block.directives).find(|d| d.name == name);
        in_blocks.or_else(|| self.global.iter().find(|d| d.name == name))
    }

    /// All values of a directive that adds up, such as `DenyUsers`.
    pub(super) fn all_of<'a>(&'a self, who: Who<'a>, name: &'a str) -> impl Iterator<Item = &'a Directive> {
        let matching = self.blocks.iter().filter(move |block| block.conditions.hold(who));
        let all = matching.flat_map(|block| &block.directives).chain(&self.global);
        all.filter(move |directive| directive.name == name)
    }

    /// Whether the subsystem `sftp` is served without a program.
    pub(super) fn has_internal_sftp(&self) -> bool {
        let subsystems = self.global.iter().filter(|d| d.name == "subsystem").map(|d| words(&d.value));
        subsystems.into_iter().any(
            |words| matches!(words.as_slice(), [name, program, ..] if name == "sftp" && program == "internal-sftp"),
        )
    }

    /// Whether any block asks for groups.
    pub(super) fn needs_groups(&self) -> bool {
        self.blocks.iter().any(|block| block.conditions.groups.is_some())
            || self.global.iter().any(|d| matches!(d.name.as_str(), "allowgroups" | "denygroups"))
    }
}

impl Conditions {
    fn hold(&self, who: Who<'_>) -> bool {
        let user = self.users.as_ref().is_none_or(|list| listed(list, who.name));
        let group = self.groups.as_ref().is_none_or(|list| who.groups.iter().any(|group| listed(list, group)));
        user && group && !self.others
    }
}

impl Directive {
    /// Its whole value.
    pub(super) fn value(&self) -> &str {
        self.value.trim_matches('"')
    }

    /// Its value, word by word.
    pub(super) fn words(&self) -> Vec<String> {
        words(&self.value)
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.value().eq_ignore_ascii_case(word)
    }
}

/// Words, of which some stand between quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            '#' if word.is_none() && !quoted => break,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether a list of patterns names something (ssh_config(5), PATTERNS): one after a `!` takes it out.
pub(super) fn listed(list: &[String], name: &str) -> bool {
    let is = |negated: bool| {
        let patterns = list.iter().filter(|p| p.starts_with('!') == negated);
        patterns.into_iter().any(|p| fits(p.trim_start_matches('!').as_bytes(), name.as_bytes()))
    };
    is(false) && !is(true)
}

/// `*` stands for any text, `?` for one character.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == b'?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == b'*'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "Port 22\nAllowTcpForwarding no\nSubsystem sftp internal-sftp\nTrustedUserCAKeys /etc/ca\n\
        Match User bob,web-* \n  ForceCommand internal-sftp -R\n  ForceCommand date\nMatch Group \"sftp only\"\n\
        ChrootDirectory=%h\n AllowTcpForwarding yes\nMatch Address 10.0.0.0/8\n PermitTTY no\nMatch all\n PermitTTY yes\n";

    fn value(config: &SshdConfig, name: &str, groups: &[&str], of: &str) -> Option<String> {
        let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        config.of(Who { name, groups: &groups }, of).map(|d| d.value().to_owned())
    }

    #[test]
    fn the_first_value_that_holds_counts() {
        let config = SshdConfig::parse(FILE);
        let get = |name, groups: &[&str], of| value(&config, name, groups, of);
        assert_eq!(get("bob", &[], "forcecommand").as_deref(), Some("internal-sftp -R"));
        assert_eq!(get("web-1", &[], "allowtcpforwarding").as_deref(), Some("no"));
        assert_eq!(get("eve", &["sftp only"], "allowtcpforwarding").as_deref(), Some("yes"));
        assert_eq!(get("eve", &["sftp only"], "chrootdirectory").as_deref(), Some("%h"));
        assert_eq!((get("eve", &[], "forcecommand"), get("eve", &[], "permittty").as_deref()), (None, Some("yes")));
        assert!(config.has_internal_sftp() && config.needs_groups());
        let left: Vec<usize> = config.left.iter().map(|(line, _)| *line).collect();
        assert_eq!(left, [4, 11]);
    }

    #[test]
    fn patterns_are_those_of_openssh() {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert!(listed(&list("a*c,!abc"), "axc") && !listed(&list("a*c,!abc"), "abc") && !listed(&list("!x"), "y"));
        assert!(fits(b"*", b"") && fits(b"a?c*", b"abcd") && !fits(b"a?c", b"ac") && fits(b"**a**", b"bab"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,200}", lines in prop::collection::vec("(Match|match|User|Include|ForceCommand|[\" =#,*!a]){1,6}", 0..8)) {
            for text in [text, lines.join("\n")] {
                let config = SshdConfig::parse(&text);
                config.of(Who { name: "bob", groups: &[] }, "forcecommand");
                config.has_internal_sftp();
            }
        }
    }
}
