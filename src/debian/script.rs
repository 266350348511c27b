//! Maintainer scripts, read instead of run. Most `preinst` and `postinst` scripts come from debhelper or serve upgrades
//! from older releases, and do nothing in a fresh image; what else they do is mostly `update-alternatives`.
//!
//! A script is harmless if every statement that a first installation reaches is known to be: debhelper's marked blocks of
//! known kinds, tests, and commands whose only effect is a cache, a service or a link that is made here. Anything else makes it
//! unknown, to be looked up by package name in `script_table`. Doubt counts as unknown.

/// A group of links under `/etc/alternatives`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alternative {
    /// Group name: `awk`.
    pub(super) name: String,
    /// The link that users see: `/usr/bin/awk`.
    pub(super) link: String,
    /// What it leads to: `/usr/bin/mawk`.
    pub(super) path: String,
    /// Highest wins.
    pub(super) priority: i64,
    /// Links that follow this one: link, name, path.
    pub(super) slaves: Vec<(String, String, String)>,
}

/// debhelper programs whose snippets have no effect on a first installation in an image: services are not started, caches
/// are optional, `dpkg-maintscript-helper` moves files of older versions only, and declared accounts are made by `accounts`.
const HARMLESS_SNIPPETS: [&str; 24] = [
    "dh_apparmor",
    "dh_bash-completion",
    "dh_icons",
    "dh_installalternatives",
    "dh_installdeb",
    "dh_installdebconf",
    "dh_installemacsen",
    "dh_installinit",
    "dh_installmenu",
    "dh_installmime",
    "dh_installsysusers",
    "dh_installsystemd",
    "dh_installsystemduser",
    "dh_installtmpfiles",
    "dh_installudev",
    "dh_installxfonts",
    "dh_lisp",
    "dh_makeshlibs",
    "dh_python2",
    "dh_python3",
    "dh_pypy",
    "dh_sphinxdoc",
    "dh_systemd_enable",
    "dh_systemd_start",
];

/// Commands whose effect is nothing in an image, or is made by `root`: links of alternatives, the loader's cache, byte
/// code, indexes of documentation, fonts and icons, debconf's questions, services.
const HARMLESS_COMMANDS: [&str; 29] = [
    ":",
    "add-shell",
    "deb-systemd-helper",
    "deb-systemd-invoke",
    "dpkg-maintscript-helper",
    "dpkg-trigger",
    "echo",
    "exit",
    "export",
    "fc-cache",
    "gtk-update-icon-cache",
    "invoke-rc.d",
    "ldconfig",
    "printf",
    "py3clean",
    "py3compile",
    "pycompile",
    "return",
    "set",
    "shift",
    "systemctl",
    "true",
    "umask",
    "unset",
    "update-alternatives",
    "update-menus",
    "update-mime",
    "update-mime-database",
    "update-rc.d",
];

/// Conditions that a first installation does not meet, at the start of a conjunction.
const NEVER_ON_INSTALL: [&str; 8] = [
    r#"[ "$1" = "upgrade" ]"#,
    r#"[ "$1" = upgrade ]"#,
    r#"[ "$1" = 'upgrade' ]"#,
    r#"test "$1" = upgrade"#,
    r#"[ "$1" = "triggered" ]"#,
    r#"[ "$1" = triggered ]"#,
    r#"[ -n "$2" ]"#,
    r#"[ "$2" != "" ]"#,
];

/// The first line of a script that is not known to be harmless; `None` if the whole script is.
pub(super) fn unknown_line(script: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(script) else { return Some("(not text)".to_owned()) };
    let first = text.lines().next().unwrap_or_default();
    let interpreter = first.trim_start_matches("#!").trim().split(' ').next().unwrap_or_default();
    if !first.starts_with("#!") || !matches!(interpreter, "/bin/sh" | "/bin/bash" | "/bin/dash" | "/usr/bin/sh") {
        return Some(first.to_owned());
    }
    let mut reader = Reader::default();
    let unknown = logical_lines(text).into_iter().find(|line| !reader.accepts(line));
    unknown.or_else(|| (reader.in_snippet || reader.skipping > 0).then(|| "(a block without its end)".to_owned()))
}

/// Where in a script the reader is.
#[derive(Default)]
struct Reader {
    in_snippet: bool,
    /// Depth of `if`s inside a branch that a first installation does not take.
    skipping: usize,
}

impl Reader {
    fn accepts(&mut self, line: &str) -> bool {
        if let Some(comment) = line.strip_prefix('#') {
            return self.accepts_comment(comment.trim());
        }
        if self.in_snippet || line.is_empty() {
            return true;
        }
        if self.skipping > 0 {
            return self.skip(line);
        }
        if let Some(condition) = line.strip_prefix("if ").or_else(|| line.strip_prefix("elif ")) {
            let condition = condition.strip_suffix("then").unwrap_or(condition).trim().trim_end_matches(';').trim();
            if line.starts_with("if ") && is_never_met(condition) {
                self.skipping = 1;
                return true;
            }
            return is_test(condition);
        }
        let line = line.strip_suffix(";;").unwrap_or(line).trim_end();
        is_structure(line) || is_harmless_command(line)
    }

    fn accepts_comment(&mut self, comment: &str) -> bool {
        if let Some(program) = comment.strip_prefix("Automatically added by ") {
            let program = program.split(['/', ' ']).next().unwrap_or_default();
            self.in_snippet = true;
            return HARMLESS_SNIPPETS.contains(&program);
        }
        if comment == "End automatically added section" {
            self.in_snippet = false;
        }
        true
    }

    /// Passes over a branch up to its `else` or `fi`. One-line forms and heredocs are doubt.
    fn skip(&mut self, line: &str) -> bool {
        if line.contains("<<") || line.contains("; fi") || line.contains(";fi") {
            return false;
        }
        match line {
            "fi" => self.skipping -= 1,
            "else" if self.skipping == 1 => self.skipping = 0,
            _ if line.starts_with("elif ") && self.skipping == 1 => return false,
            _ if line.starts_with("if ") => self.skipping += 1,
            _ => {}
        }
        true
    }
}

/// Trimmed lines, with those joined that a backslash or a trailing operator continues.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let line = line.trim();
        let (content, continues) = match line.strip_suffix('\\') {
            Some(content) if !line.starts_with('#') => (content.trim_end(), true),
            _ => (line, !line.starts_with('#') && (line.ends_with("&&") || line.ends_with("||"))),
        };
        match lines.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(' ');
                last.push_str(content);
            }
            None => lines.push(content.to_owned()),
        }
        open = continues;
    }
    lines
}

fn is_never_met(condition: &str) -> bool {
    // With `||` between, another test may be met.
    !condition.contains("||")
        && NEVER_ON_INSTALL.iter().any(|never| {
            condition.strip_prefix(never).is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with("&&"))
        })
}

/// Whether a condition only looks: tests, version comparisons, searches for a program.
fn is_test(condition: &str) -> bool {
    let condition = without_quiet_redirections(condition);
    let condition = condition.replace("&&", "\n").replace("||", "\n");
    condition.lines().all(|part| {
        let part = part.trim().trim_start_matches("! ").trim();
        let looks = ["[ ", "test ", "dpkg --compare-versions ", "which ", "command -v ", "type "];
        let mut inside = part.replace("`which ", "`").replace("`command -v ", "`").replace("$(which ", "$(");
        inside = inside.replace("$(command -v ", "$(");
        let calls_program = inside.matches("$(").count() + inside.matches('`').count() / 2;
        let searches = part.matches("which ").count() + part.matches("command -v ").count();
        looks.iter().any(|start| part.starts_with(start))
            && !part.contains([';', '|', '&', '<', '>'])
            && calls_program <= searches
    })
}

/// Words that only give the script its shape.
fn is_structure(line: &str) -> bool {
    let pattern = line.strip_prefix('(').unwrap_or(line).strip_suffix(')');
    matches!(line, "" | "then" | "else" | "fi" | "esac" | ";;")
        || matches!(line, r#"case "$1" in"# | "case $1 in" | r#"case "${1}" in"#)
        || pattern.is_some_and(|pattern| {
            !pattern.is_empty() && pattern.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '|' | '*' | ' '))
        })
}

fn is_harmless_command(line: &str) -> bool {
    let line = without_quiet_redirections(line);
    let line = line.trim_end_matches("|| true").trim_end_matches("|| :").trim();
    if line == ". /usr/share/debconf/confmodule" {
        return true;
    }
    let command = line.split_whitespace().next().unwrap_or_default();
    let known = HARMLESS_COMMANDS.contains(&command) || command.starts_with("db_");
    let is_single = outside_quotes(line).is_some_and(|text| !text.contains([';', '|', '&', '<', '>']));
    known && is_single && !line.contains("$(") && !has_command_quote(line)
}

/// A backtick that runs something: one behind a backslash is text.
fn has_command_quote(line: &str) -> bool {
    line.replace("\\`", "").contains('`')
}

/// The line without what stands in double or single quotes; `None` if a quote is escaped or does not end here.
fn outside_quotes(line: &str) -> Option<String> {
    if line.contains("\\\"") || line.contains("\\'") {
        return None;
    }
    let mut quote = None;
    let mut text = String::new();
    for character in line.chars() {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None, other) => text.push(other),
            (Some(_), _) => {}
        }
    }
    quote.is_none().then_some(text)
}

fn without_quiet_redirections(line: &str) -> String {
    let mut text = line.to_owned();
    for redirection in
        ["2> /dev/null", "2>/dev/null", ">/dev/null", "> /dev/null", "2>&1", "1>&2", ">&2", "> /dev/null 2>&1"]
    {
        text = text.replace(redirection, "");
    }
    text.trim().to_owned()
}

/// The groups that a script would register with literal names, wherever they stand.
pub(super) fn alternatives(script: &[u8]) -> Vec<Alternative> {
    let text = String::from_utf8_lossy(script);
    logical_lines(&text).iter().filter_map(|line| parse_alternative(line)).collect()
}

fn parse_alternative(line: &str) -> Option<Alternative> {
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    let (&"update-alternatives", mut rest) = words.split_first()? else { return None };
    while let Some((&"--quiet" | &"--force", after)) = rest.split_first() {
        rest = after;
    }
    let ["--install", link, name, path, priority, options @ ..] = rest else { return None };
    let literal = |word: &str| !word.is_empty() && !word.contains(['$', '`', '*', '?', '(', '|', ';']);
    let absolute = |word: &str| literal(word) && word.starts_with('/');
    let plain_name = |word: &str| literal(word) && !word.contains('/');
    if !absolute(link) || !absolute(path) || !plain_name(name) {
        return None;
    }
    let mut slaves = Vec::new();
    let mut options = options;
    while let ["--slave", link, name, path, after @ ..] = options {
        if !absolute(link) || !absolute(path) || !plain_name(name) {
            break;
        }
        slaves.push(((*link).to_owned(), (*name).to_owned(), (*path).to_owned()));
        options = after;
    }
    Some(Alternative {
        name: (*name).to_owned(),
        link: (*link).to_owned(),
        path: (*path).to_owned(),
        priority: priority.parse().ok()?,
        slaves,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unknown(body: &str) -> Option<String> {
        unknown_line(format!("#!/bin/sh\nset -e\n{body}").as_bytes())
    }

    #[test]
    fn accepts_what_does_nothing_on_a_first_installation() {
        for body in [
            "exit 0\n",
            "# Automatically added by dh_installdeb/13.11.4\ndpkg-maintscript-helper rm_conffile /etc/a 1~ -- \"$@\"\nrm -rf /\n# End automatically added section\n",
            "if which py3compile >/dev/null 2>&1; then\n\tpy3compile -p a /usr/share/a/\nfi\n",
            "if [ \"$1\" = \"upgrade\" ] && dpkg --compare-versions \"$2\" lt 1.2; then\n if [ -e /x ]; then\n rm -f /x\n fi\nfi\n",
            "if test \"$1\" = upgrade &&\n   test -e /a &&\n   ! test -e /b\nthen\n  mv /a /b\nfi\nexit 0\n",
            "case \"$1\" in\n  configure)\n  update-alternatives --quiet --install /usr/bin/pager pager \\\n    /usr/bin/less 77\n  ;;\n  abort-upgrade|abort-remove)\n  ;;\n  *)\n  echo \"called with unknown argument \\`$1'\" >&2\n  exit 0\n  ;;\nesac\n",
            "if [ \"$1\" = \"configure\" ] && [ -x \"`which update-mime 2> /dev/null`\" ]; then\n  update-mime\nfi\n",
        ] {
            assert_eq!(unknown(body), None, "{body}");
        }
    }

    #[test]
    fn names_the_line_it_does_not_know() {
        for (body, line) in [
            ("adduser --system a\n", "adduser --system a"),
            ("echo x > /etc/a\n", "echo x > /etc/a"),
            ("echo x; rm -rf /a\n", "echo x; rm -rf /a"),
            ("echo \\\"; rm -rf /a\n", "echo \\\"; rm -rf /a"),
            ("echo \"two\nlines\"\n", "echo \"two"),
            ("echo $(touch /a)\n", "echo $(touch /a)"),
            ("if [ \"$1\" = configure ]; then\n ln -s a b\nfi\n", "ln -s a b"),
            ("if [ -e $(touch /a) ]; then\n:\nfi\n", "if [ -e $(touch /a) ]; then"),
            ("if touch /a; then\n:\nfi\n", "if touch /a; then"),
            ("if [ \"$1\" = upgrade ] || true; then\n touch /a\nfi\n", "if [ \"$1\" = upgrade ] || true; then"),
            ("if [ \"$1\" = upgrade ]; then\n:\nelse\n touch /a\nfi\n", "touch /a"),
            ("if [ \"$1\" = upgrade ]; then\n:\n", "(a block without its end)"),
            (
                "# Automatically added by dh_something/13\nsomething a.conf\n# End automatically added section\n",
                "# Automatically added by dh_something/13",
            ),
        ] {
            assert_eq!(unknown(body).as_deref(), Some(line), "{body}");
        }
        assert_eq!(unknown_line(b"#!/usr/bin/perl\n").as_deref(), Some("#!/usr/bin/perl"));
    }

    #[test]
    fn reads_alternatives_with_their_slaves() {
        let script = b"#!/bin/sh\nupdate-alternatives --quiet --install /usr/bin/awk awk /usr/bin/mawk 5 \\\n  --slave /usr/bin/nawk nawk /usr/bin/mawk \\\n  $(more)\nupdate-alternatives --install $link x /y 1\nupdate-alternatives --remove a /b\n";
        assert_eq!(
            alternatives(script),
            [Alternative {
                name: "awk".to_owned(),
                link: "/usr/bin/awk".to_owned(),
                path: "/usr/bin/mawk".to_owned(),
                priority: 5,
                slaves: vec![("/usr/bin/nawk".to_owned(), "nawk".to_owned(), "/usr/bin/mawk".to_owned())],
            }]
        );
    }

    proptest! {
        #[test]
        fn any_script_is_read(text in "(#!/bin/sh\n)?(if |fi|else|#|\\PC|\n|\\\\\n|`|\"){0,60}") {
            let _ = unknown_line(text.as_bytes());
            let _ = alternatives(text.as_bytes());
        }
    }
}
