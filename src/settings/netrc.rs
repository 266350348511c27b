//! `.netrc`: user names and passwords by host, as curl, git and pip read them.

use super::environment::read_file;
use super::{Credentials, Environment, Error};

/// The machines of a file, in its order.
#[derive(Clone, Default)]
pub(super) struct Netrc {
    entries: Vec<Entry>,
}

#[derive(Clone, Default)]
struct Entry {
    /// `None` for `default`.
    machine: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

impl Netrc {
    /// `$NETRC`, else `~/.netrc`.
    pub(super) fn load(environment: &Environment) -> Result<Self, Error> {
        let chosen = environment.variable("NETRC").map(|path| environment.expand(path));
        let path = chosen.or_else(|| environment.home.as_ref().map(|home| home.join(".netrc")));
        let text = path.map(|path| read_file(&path)).transpose()?.flatten();
        Ok(Self::parse(&text.unwrap_or_default()))
    }

    fn parse(text: &str) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut words = words(text).into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => entries.push(Entry { machine: words.next(), ..Entry::default() }),
                "default" => entries.push(Entry::default()),
                "login" | "user" => {
                    let login = words.next();
                    if let Some(entry) = entries.last_mut() {
                        entry.login = login;
                    }
                }
                "password" => {
                    let password = words.next();
                    if let Some(entry) = entries.last_mut() {
                        entry.password = password;
                    }
                }
                "account" => {
                    words.next();
                }
                _ => {}
            }
        }
        Self { entries }
    }

    /// The first entry for `host`, else the `default` one.
    pub(super) fn credentials(&self, host: &str) -> Option<Credentials> {
        let named = self.entries.iter().find(|entry| entry.machine.as_deref() == Some(host));
        let entry = named.or_else(|| self.entries.iter().find(|entry| entry.machine.is_none()))?;
        let login = entry.login.clone().unwrap_or_default();
        let password = entry.password.clone();
        (!login.is_empty() || password.is_some()).then(|| Credentials::new(login, password))
    }
}

/// Words of a file; quotes group, a line that starts with `#` is a comment, and a `macdef` goes to the next blank line.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        if in_macro {
            in_macro = !line.trim().is_empty();
            continue;
        }
        let mut rest = line.trim_start();
        if rest.starts_with('#') {
            continue;
        }
        while !rest.is_empty() {
            let (word, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
            };
            if word == "macdef" {
                in_macro = true;
                break;
            }
            words.push(word.to_owned());
            rest = after.trim_start();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_their_own_entry_or_the_default() {
        let netrc = Netrc::parse(
            "# company\nmachine a.example login ann password \"two words\"\nmacdef init\n machine b.example\n\n\
             machine b.example\n  login bob\n  account x\n  password #b\ndefault login guest",
        );
        let show = |host: &str| {
            let found = netrc.credentials(host).expect("an entry");
            (found.username.clone(), found.password().map(str::to_owned))
        };
        assert_eq!(show("a.example"), ("ann".into(), Some("two words".into())));
        assert_eq!(show("b.example"), ("bob".into(), Some("#b".into())));
        assert_eq!(show("c.example"), ("guest".into(), None));
        assert!(Netrc::parse("machine").credentials("x").is_none());
    }
}
