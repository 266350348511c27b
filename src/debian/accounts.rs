//! Accounts that packages declare in `/usr/lib/sysusers.d` (sysusers.d(5)), written into the account files as
//! `systemd-sysusers` would: what exists already stays, and an account without a number gets the highest free one of the
//! system's range, in the order of the files' names. Nobody can log in to them, and no day is written down.

use std::collections::BTreeSet;
use std::io;

use super::tree::{Node, Root};

const FOLDER: &str = "usr/lib/sysusers.d/";
/// The highest number of a system account, `SYS_UID_MAX` of Debian's login.defs, and the lowest that is given out.
const SYSTEM_RANGE: std::ops::RangeInclusive<u32> = 100..=999;
/// Debian's group of those who may read the shadow files.
const GROUP_SHADOW: u32 = 42;

/// The account files of the image that packages are put on, as far as it has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFiles {
    /// `/etc/passwd`.
    pub passwd: Option<Vec<u8>>,
    /// `/etc/group`.
    pub group: Option<Vec<u8>>,
    /// `/etc/shadow`.
    pub shadow: Option<Vec<u8>>,
    /// `/etc/gshadow`.
    pub gshadow: Option<Vec<u8>>,
}

/// What one line declares.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Declaration {
    User {
        name: String,
        user: Option<u32>,
        group: Option<GroupOf>,
        comment: String,
        home: String,
        shell: String,
    },
    Group {
        name: String,
        number: Option<u32>,
    },
    Member {
        user: String,
        group: String,
    },
    /// A range of numbers, which the usual one includes.
    Range,
}

/// The group that a user's line names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum GroupOf {
    Number(u32),
    Name(String),
}

/// Why declared accounts could not be made.
#[derive(Debug)]
pub(super) enum AccountError {
    /// A line of this file is not understood.
    Line { path: String, line: String },
    /// A file could not be read.
    Io(io::Error),
}

/// Adds what the files of `root` declare. `before` are the account files of the image below; a whole root has its own.
pub(super) fn add_declared_accounts(root: &mut Root, before: &AccountFiles) -> Result<(), AccountError> {
    let paths = root.nodes.range(FOLDER.to_owned()..).map(|(path, _)| path);
    let paths = paths.take_while(|path| path.starts_with(FOLDER)).filter(|path| path.strip_suffix(".conf").is_some());
    let mut declarations = Vec::new();
    for path in paths {
        let text = root.read(path).map_err(AccountError::Io)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let refuse = || AccountError::Line { path: path.clone(), line: line.to_owned() };
            declarations.push(parse(line).ok_or_else(refuse)?);
        }
    }
    if declarations.is_empty() {
        return Ok(());
    }
    let mut files = Files::read(root, before).map_err(AccountError::Io)?;
    // Groups first, so that a user's line may name one that comes later.
    declarations.sort_by_key(|declaration| match declaration {
        Declaration::Range | Declaration::Group { .. } => 0,
        Declaration::User { .. } => 1,
        Declaration::Member { .. } => 2,
    });
    for declaration in declarations {
        files.apply(declaration);
    }
    files.write(root);
    Ok(())
}

fn parse(line: &str) -> Option<Declaration> {
    let words = words(line)?;
    // Names in percent signs stand for facts of the running machine.
    if words.iter().any(|word| word.contains(['%', ':', '\n']) && !is_number_pair(word)) {
        return None;
    }
    let word = |at: usize| words.get(at).map(String::as_str).filter(|word| !matches!(*word, "" | "-"));
    let name = word(1).filter(|name| is_name(name)).map(str::to_owned);
    let text = |at: usize, fallback: &str| word(at).unwrap_or(fallback).to_owned();
    match words.first()?.as_str() {
        "u" | "u!" => {
            let (user, group) = match word(2) {
                None => (None, None),
                Some(number) => match number.split_once(':') {
                    None => (Some(number.parse().ok()?), None),
                    Some((user, group)) => {
                        let group = group.parse().map_or_else(|_| GroupOf::Name(group.to_owned()), GroupOf::Number);
                        let user = if user == "-" { None } else { Some(user.parse().ok()?) };
                        (user, Some(group))
                    }
                },
            };
            let (comment, home) = (text(3, ""), text(4, "/"));
            let is_path = |path: &str| path.starts_with('/');
            let shell = text(5, "/usr/sbin/nologin");
            (is_path(&home) && is_path(&shell)).then_some(())?;
            Some(Declaration::User { name: name?, user, group, comment, home, shell })
        }
        "g" => {
            let number = word(2).map(|number| number.parse().ok());
            Some(Declaration::Group { name: name?, number: number.map_or(Some(None), |number| number.map(Some))? })
        }
        "m" => Some(Declaration::Member { user: name?, group: word(2).filter(|name| is_name(name))?.to_owned() }),
        "r" => Some(Declaration::Range),
        _ => None,
    }
}

/// `33:33`, `-:adm`: the one field with a colon.
fn is_number_pair(word: &str) -> bool {
    let plain = |text: &str| text == "-" || text.parse::<u32>().is_ok() || is_name(text);
    word.split_once(':').is_some_and(|(user, group)| plain(user) && plain(group))
}

/// Names that no field of an account file would break.
fn is_name(name: &str) -> bool {
    name.len() <= 31
        && name.starts_with(|character: char| character.is_ascii_lowercase() || character == '_')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'))
}

/// Words parted by blanks, in quotes where they hold some; `None` if a quote does not end.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].split_once(quote)?,
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Some(words)
}

/// Account files while they grow.
struct Files {
    passwd: Vec<String>,
    group: Vec<String>,
    shadow: Option<Vec<String>>,
    gshadow: Option<Vec<String>>,
}

impl Files {
    fn read(root: &Root, before: &AccountFiles) -> io::Result<Self> {
        let lines = |path: &str, before: &Option<Vec<u8>>| -> io::Result<Option<Vec<String>>> {
            let bytes = root.read(path)?.or_else(|| before.clone());
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()))
        };
        Ok(Self {
            passwd: lines("etc/passwd", &before.passwd)?.unwrap_or_default(),
            group: lines("etc/group", &before.group)?.unwrap_or_default(),
            shadow: lines("etc/shadow", &before.shadow)?,
            gshadow: lines("etc/gshadow", &before.gshadow)?,
        })
    }

    fn apply(&mut self, declaration: Declaration) {
        match declaration {
            Declaration::Range => {}
            Declaration::Group { name, number } => {
                let number = number.filter(|number| !numbers(&self.group).contains(number));
                let number = number.or_else(|| self.free_number());
                self.add_group(&name, number);
            }
            Declaration::User { name, user, group, comment, home, shell } => {
                if line_of(&self.passwd, &name).is_some() {
                    return;
                }
                let own_group = self.group_number(&name);
                let is_free = |number: &u32| !numbers(&self.passwd).contains(number);
                // As its group has it, if that is free: the two are easier to recognise.
                let number = user.filter(is_free).or(own_group.filter(is_free)).or_else(|| self.free_number());
                let Some(number) = number else { return };
                let group = match group {
                    Some(GroupOf::Number(number)) => Some(number),
                    Some(GroupOf::Name(name)) => self.group_number(&name),
                    None => None,
                };
                let group = group.or(own_group).unwrap_or_else(|| {
                    let wanted = Some(number).filter(|number| !numbers(&self.group).contains(number));
                    let wanted = wanted.or_else(|| self.free_number()).unwrap_or(number);
                    self.add_group(&name, Some(wanted));
                    wanted
                });
                self.passwd.push(format!("{name}:x:{number}:{group}:{comment}:{home}:{shell}"));
                if let Some(shadow) = &mut self.shadow {
                    shadow.push(format!("{name}:!*:::::::"));
                }
            }
            Declaration::Member { user, group } => {
                let number = self.free_number();
                self.add_group(&group, number);
                let user_declaration = Declaration::User {
                    name: user.clone(),
                    user: None,
                    group: None,
                    comment: String::new(),
                    home: "/".to_owned(),
                    shell: "/usr/sbin/nologin".to_owned(),
                };
                self.apply(user_declaration);
                for file in [Some(&mut self.group), self.gshadow.as_mut()].into_iter().flatten() {
                    if let Some(line) = file.iter_mut().find(|line| line.split(':').next() == Some(&group)) {
                        add_member(line, &user);
                    }
                }
            }
        }
    }

    fn add_group(&mut self, name: &str, number: Option<u32>) {
        if let (None, Some(number)) = (line_of(&self.group, name), number) {
            self.group.push(format!("{name}:x:{number}:"));
            if let Some(gshadow) = &mut self.gshadow {
                gshadow.push(format!("{name}:!*::"));
            }
        }
    }

    fn group_number(&self, name: &str) -> Option<u32> {
        line_of(&self.group, name)?.split(':').nth(2)?.parse().ok()
    }

    /// The highest number that neither a user nor a group has.
    fn free_number(&self) -> Option<u32> {
        let (users, groups) = (numbers(&self.passwd), numbers(&self.group));
        SYSTEM_RANGE.rev().find(|number| !users.contains(number) && !groups.contains(number))
    }

    fn write(self, root: &mut Root) {
        let mut put = |path: &str, lines: Vec<String>, node: Node| {
            let mut text = lines.join("\n");
            text.push('\n');
            root.nodes.insert(path.to_owned(), Node { kind: Node::file(text).kind, ..node });
        };
        put("etc/passwd", self.passwd, Node::file(""));
        put("etc/group", self.group, Node::file(""));
        for (path, lines) in [("etc/shadow", self.shadow), ("etc/gshadow", self.gshadow)] {
            if let Some(lines) = lines {
                put(path, lines, Node { mode: 0o640, gid: GROUP_SHADOW, ..Node::file("") });
            }
        }
    }
}

fn line_of<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().map(String::as_str).find(|line| line.split(':').next() == Some(name))
}

/// The numbers in the third field.
fn numbers(lines: &[String]) -> BTreeSet<u32> {
    lines.iter().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
}

/// Adds a name to the last field, a list with commas.
fn add_member(line: &mut String, user: &str) {
    let members = line.rsplit(':').next().unwrap_or_default();
    if members.split(',').any(|member| member == user) {
        return;
    }
    if !members.is_empty() {
        line.push(',');
    }
    line.push_str(user);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn root(files: &[(&str, &str)]) -> Root {
        let nodes: BTreeMap<String, Node> =
            files.iter().map(|(path, text)| ((*path).to_owned(), Node::file(*text))).collect();
        Root { nodes, spool: tempfile::tempfile().expect("a temporary file") }
    }

    fn text(root: &Root, path: &str) -> String {
        String::from_utf8(root.read(path).expect("readable").expect(path)).expect("text")
    }

    #[test]
    fn makes_declared_accounts_beside_those_that_are_there() {
        let mut root = root(&[
            ("usr/lib/sysusers.d/b.conf", "# comment\nu postfix - \"Mail server\" /var/spool/postfix\ng postdrop -\n"),
            ("usr/lib/sysusers.d/a.conf", "u daemon 7 - -\nu web 33:adm 'A: b' \nm postfix mail\nr - 500-600\n"),
            ("usr/lib/sysusers.d/README", "not read"),
        ]);
        let error = add_declared_accounts(&mut root, &AccountFiles::default()).expect_err("a colon breaks the file");
        assert!(matches!(&error, AccountError::Line { line, .. } if line.starts_with("u web")), "{error:?}");
        root.nodes.insert(
            "usr/lib/sysusers.d/a.conf".to_owned(),
            Node::file("u daemon 7 - -\nu web 33:adm 'A b' \nm postfix mail\nr - 500-600\n"),
        );
        let before = AccountFiles {
            passwd: Some(b"root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/x\nother:x:999:999::/:/x\n".to_vec()),
            group: Some(b"root:x:0:\nadm:x:4:\nmail:x:8:\n".to_vec()),
            shadow: Some(b"root:*::::::".to_vec()),
            gshadow: None,
        };
        add_declared_accounts(&mut root, &before).expect("made");
        assert_eq!(
            text(&root, "etc/passwd"),
            "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/x\nother:x:999:999::/:/x\n\
             web:x:33:4:A b:/:/usr/sbin/nologin\npostfix:x:997:997:Mail server:/var/spool/postfix:/usr/sbin/nologin\n"
        );
        assert_eq!(
            text(&root, "etc/group"),
            "root:x:0:\nadm:x:4:\nmail:x:8:postfix\npostdrop:x:998:\npostfix:x:997:\n"
        );
        assert_eq!(text(&root, "etc/shadow"), "root:*::::::\nweb:!*:::::::\npostfix:!*:::::::\n");
        assert_eq!(root.get("etc/shadow").map(|node| (node.mode, node.gid)), Some((0o640, 42)));
        assert!(root.get("etc/gshadow").is_none());
    }

    #[test]
    fn nothing_declared_changes_nothing() {
        let mut root = root(&[("etc/passwd", "root:x:0:0::/root:/bin/sh")]);
        add_declared_accounts(&mut root, &AccountFiles::default()).expect("nothing to do");
        assert_eq!(text(&root, "etc/passwd"), "root:x:0:0::/root:/bin/sh");
    }

    #[test]
    fn lines_that_need_a_machine_are_refused() {
        for line in ["u a %m", "u a /etc/a", "u A/b -", "x a -", "u a - \"open", "u a - - relative", "m a", "u a 1:2:3"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
        assert_eq!(parse("g a 12"), Some(Declaration::Group { name: "a".to_owned(), number: Some(12) }));
        assert_eq!(parse("g a"), Some(Declaration::Group { name: "a".to_owned(), number: None }));
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "([ugmr]!? )?[a-z]{0,3}\\PC{0,40}") {
            let _ = parse(&line);
        }
    }
}
