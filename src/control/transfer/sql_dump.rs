//! Rows out of an SQL dump, as mysqldump, pg_dump and sqlite3 write it: `INSERT INTO`, with the columns it names or those of
//! the `CREATE TABLE` before it, and `COPY ... FROM stdin`. Nothing of it is run.

use std::collections::BTreeMap;

/// A row by the names of its columns, in small letters; NULL is absent.
pub(super) type DumpRow = BTreeMap<String, String>;

/// A piece of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Reads the rows of some tables, each with the line that it begins in. The text is anybody's: what is no such statement is
/// passed over.
pub(super) fn rows(text: &str, tables: &[&str]) -> BTreeMap<String, Vec<(usize, DumpRow)>> {
    let mut reader = Reader { rest: text, line: 1 };
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut found: BTreeMap<String, Vec<(usize, DumpRow)>> = BTreeMap::new();
    while let Some(token) = reader.next() {
        let Token::Word(word) = token else { continue };
        match word.to_ascii_lowercase().as_str() {
            "create" => {
                if let Some((table, names)) = reader.create() {
                    columns.insert(table, names);
                }
            }
            "insert" | "replace" => {
                let Some((table, named)) = reader.insert() else { continue };
                let names = named.or_else(|| columns.get(&table).cloned()).unwrap_or_default();
                reader.values(|line, values| {
                    if tables.contains(&table.as_str()) {
                        found.entry(table.clone()).or_default().push((line, row(&names, values)));
                    }
                });
            }
            "copy" => {
                let Some((table, named)) = reader.target() else { continue };
                let names = named.unwrap_or_default();
                reader.skip_statement();
                reader.copied(|line, values| {
                    if tables.contains(&table.as_str()) {
                        found.entry(table.clone()).or_default().push((line, row(&names, values)));
                    }
                });
            }
            _ => reader.skip_statement(),
        }
    }
    found
}

fn row(names: &[String], values: Vec<Option<String>>) -> DumpRow {
    names.iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn bump(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip_line(&mut self) {
        while self.bump().is_some_and(|c| c != '\n') {}
    }

    /// The next piece; comments and spaces are none.
    fn next(&mut self) -> Option<Token> {
        loop {
            let c = self.bump()?;
            match c {
                c if c.is_whitespace() => {}
                '-' if self.peek() == Some('-') => self.skip_line(),
                '#' => self.skip_line(),
                '/' if self.peek() == Some('*') => {
                    while !self.rest.is_empty() && !self.rest.starts_with("*/") {
                        self.bump();
                    }
                    self.bump();
                    self.bump();
                }
                '\'' => return Some(Token::Text(self.quoted('\''))),
                '"' | '`' => return Some(Token::Word(self.quoted(c))),
                c if c.is_alphanumeric() || "_$.+-".contains(c) => {
                    let mut word = String::from(c);
                    while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || "_$.+-".contains(*c)) {
                        word.push(c);
                        self.bump();
                    }
                    return Some(Token::Word(word));
                }
                c => return Some(Token::Sign(c)),
            }
        }
    }

    /// Up to the quote that closes; two of them stand for one, and in MySQL's texts a `\` takes the next as it is.
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(c) = self.bump() {
            match c {
                c if c == quote && self.peek() == Some(quote) => {
                    self.bump();
                    text.push(quote);
                }
                c if c == quote => break,
                '\\' if quote == '\'' => match self.bump() {
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some('0') => text.push('\0'),
                    other => text.extend(other),
                },
                c => text.push(c),
            }
        }
        text
    }

    fn skip_statement(&mut self) {
        while let Some(token) = self.next() {
            if token == Token::Sign(';') {
                return;
            }
        }
    }

    /// A name, without that of its schema.
    fn name(&mut self, mut first: Option<Token>) -> Option<(String, Option<Token>)> {
        let mut name = None;
        loop {
            match first.take().or_else(|| self.next())? {
                Token::Word(word) if word == "." => {}
                Token::Word(word) => {
                    name = Some(word.rsplit('.').next().unwrap_or_default().to_ascii_lowercase());
                    match self.next() {
                        Some(Token::Word(word)) if word == "." || word.starts_with('.') => {
                            let rest = word.trim_start_matches('.').to_owned();
                            first = (!rest.is_empty()).then_some(Token::Word(rest));
                        }
                        other => return name.map(|name| (name, other)),
                    }
                }
                other => return name.map(|name| (name, Some(other))),
            }
        }
    }

    /// `CREATE TABLE name (column type, ...)`.
    fn create(&mut self) -> Option<(String, Vec<String>)> {
        let (table, mut next) = loop {
            match self.next()? {
                Token::Word(word)
                    if ["table", "if", "not", "exists", "temporary"].contains(&word.to_ascii_lowercase().as_str()) => {}
                Token::Word(word) => break self.name(Some(Token::Word(word)))?,
                Token::Sign(';') => return None,
                _ => {}
            }
        };
        let mut names = Vec::new();
        let (mut depth, mut at_start) = (0_u32, false);
        loop {
            match next.take().or_else(|| self.next())? {
                Token::Sign('(') => {
                    depth += 1;
                    at_start = depth == 1;
                }
                Token::Sign(')') => depth = depth.saturating_sub(1),
                Token::Sign(',') if depth == 1 => at_start = true,
                Token::Sign(';') => return Some((table, names)),
                Token::Word(word) if depth == 1 && at_start => {
                    let word = word.to_ascii_lowercase();
                    if !["primary", "unique", "key", "constraint", "index", "foreign", "check"].contains(&word.as_str())
                    {
                        names.push(word);
                    }
                    at_start = false;
                }
                _ => at_start = false,
            }
        }
    }

    /// `INTO name [(columns)] VALUES`.
    fn insert(&mut self) -> Option<(String, Option<Vec<String>>)> {
        loop {
            match self.next()? {
                Token::Word(word) if word.eq_ignore_ascii_case("into") => return self.target(),
                Token::Word(_) => {}
                Token::Text(_) | Token::Sign(_) => return None,
            }
        }
    }

    /// `name [(columns)]` and the word behind it.
    fn target(&mut self) -> Option<(String, Option<Vec<String>>)> {
        let (table, next) = self.name(None)?;
        if next != Some(Token::Sign('(')) {
            return Some((table, None));
        }
        let mut names = Vec::new();
        loop {
            match self.next()? {
                Token::Word(word) => names.push(word.to_ascii_lowercase()),
                Token::Sign(')') => return Some((table, Some(names))),
                Token::Sign(',') => {}
                _ => return None,
            }
        }
    }

    /// `(value, ...), (...);`
    fn values(&mut self, mut take: impl FnMut(usize, Vec<Option<String>>)) {
        let mut values: Option<Vec<Option<String>>> = None;
        let mut depth = 0_u32;
        let mut begun = self.line;
        while let Some(token) = self.next() {
            match (token, &mut values) {
                (Token::Sign('('), None) => {
                    begun = self.line;
                    values = Some(Vec::new());
                }
                // A call of a function: its value is not known.
                (Token::Sign('('), Some(_)) => depth += 1,
                (Token::Sign(')'), Some(_)) if depth > 0 => depth -= 1,
                (Token::Sign(')'), Some(_)) => take(begun, values.take().unwrap_or_default()),
                (Token::Text(text), Some(values)) if depth == 0 => values.push(Some(text)),
                (Token::Word(word), Some(values)) if depth == 0 => {
                    values.push((!word.eq_ignore_ascii_case("null")).then_some(word));
                }
                (Token::Sign(';'), _) => return,
                _ => {}
            }
        }
    }

    /// Lines with tabs between their values, up to `\.`.
    fn copied(&mut self, mut take: impl FnMut(usize, Vec<Option<String>>)) {
        if self.peek() == Some('\n') {
            self.bump();
        }
        while !self.rest.is_empty() {
            let line = self.rest.split('\n').next().unwrap_or_default();
            let (begun, values) = (self.line, line.split('\t').map(unescaped).collect());
            self.rest = self.rest.get(line.len()..).unwrap_or_default();
            self.bump();
            if line.trim_end() == "\\." {
                return;
            }
            take(begun, values);
        }
    }
}

fn unescaped(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, true) => match rest.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                other => out.extend(other),
            },
            (c, false) => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<DumpRow> {
        rows(text, &["users"]).remove("users").unwrap_or_default().into_iter().map(|(_, row)| row).collect()
    }

    fn users(text: &str) -> Vec<String> {
        read(text).iter().map(|row| row.get("userid").cloned().unwrap_or_default()).collect()
    }

    #[test]
    fn dumps_of_three_servers_are_read() {
        let mysql = "/*!40101 SET x=1 */;\nDROP TABLE IF EXISTS `users`;\nCREATE TABLE `users` (\n `userid` varchar(32) NOT NULL,\n \
            `passwd` varchar(80) DEFAULT 'x,y',\n `uid` int(11),\n PRIMARY KEY (`userid`), KEY `k` (`uid`)\n) ENGINE=InnoDB;\n\
            LOCK TABLES `users` WRITE;\nINSERT INTO `users` VALUES ('bob','it\\'s',1),('e''ve',NULL,-2);\n";
        let rows = read(mysql);
        assert_eq!((rows.len(), rows[0]["passwd"].as_str(), rows[1]["userid"].as_str()), (2, "it's", "e've"));
        assert!(!rows[1].contains_key("passwd") && rows[1]["uid"] == "-2");
        let postgres = "CREATE TABLE public.users (userid text, passwd text);\nCOPY public.users (userid, passwd) FROM stdin;\n\
            bob\t\\N\nev\\te\ta;b'\n\\.\n\nSELECT 1;\nINSERT INTO public.users (userid) VALUES ('last');";
        assert_eq!(users(postgres), ["bob", "ev\te", "last"]);
        let sqlite = "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE users(userid TEXT, uid INTEGER);\n\
            INSERT INTO \"users\" VALUES('bob; DROP TABLE users; --',replace('a','b','c'));\nCOMMIT;\n";
        assert_eq!(users(sqlite), ["bob; DROP TABLE users; --"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_text_is_answered(
            text in "\\PC{0,200}",
            words in prop::collection::vec("(CREATE TABLE |INSERT INTO |COPY |users|VALUES|FROM stdin;\n|[('\"`\\\\),;.\t\n-]|/\\*)", 0..40),
        ) {
            users(&text);
            users(&words.concat());
        }
    }
}
