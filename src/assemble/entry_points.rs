//! `entry_points.txt`: the commands a wheel wants, and the scripts made for them.
//!
//! Source: "Entry points specification" of the Python packaging specifications. Only `console_scripts` and `gui_scripts`
//! become files; on Linux both are the same. Module and attribute end up in generated Python, so only identifiers pass.

use std::collections::BTreeMap;

/// One command: `NAME = MODULE:ATTRIBUTE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryPoint {
    pub(super) name: String,
    module: String,
    attribute: String,
}

impl EntryPoint {
    /// The script's text. `sys.argv[0]` needs no care: only Windows adds a suffix to it.
    pub(super) fn script(&self, interpreter: &str) -> String {
        let Self { module, attribute, .. } = self;
        let import = attribute.split('.').next().unwrap_or(attribute);
        format!(
            "#!{interpreter}\nimport sys\nfrom {module} import {import}\nif __name__ == \"__main__\":\n    sys.exit({attribute}())\n"
        )
    }
}

/// The commands of a file's text, sorted by name. An error is the line's text.
pub(super) fn parse(text: &str) -> Result<Vec<EntryPoint>, String> {
    let mut commands: BTreeMap<String, EntryPoint> = BTreeMap::new();
    let mut in_scripts = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            in_scripts = matches!(section.trim(), "console_scripts" | "gui_scripts");
        } else if in_scripts {
            let command = parse_line(line).ok_or_else(|| line.to_owned())?;
            if commands.get(&command.name).is_some_and(|known| *known != command) {
                return Err(line.to_owned());
            }
            commands.insert(command.name.clone(), command);
        }
    }
    Ok(commands.into_values().collect())
}

fn parse_line(line: &str) -> Option<EntryPoint> {
    let (name, object) = line.split_once('=')?;
    let name = name.trim();
    // The name becomes a file in `bin`; the specification asks for letters, digits, `_`, `.` and `-` and allows more.
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    if !plain || name.chars().any(char::is_control) {
        return None;
    }
    // Extras behind the object, `[extra]`, are from a time when scripts checked them.
    let object = object.split('[').next().unwrap_or_default();
    let (module, attribute) = object.split_once(':')?;
    let (module, attribute) = (module.trim(), attribute.trim());
    let dotted = |text: &str| text.split('.').all(is_identifier);
    (dotted(module) && dotted(attribute)).then(|| EntryPoint {
        name: name.to_owned(),
        module: module.to_owned(),
        attribute: attribute.to_owned(),
    })
}

fn is_identifier(text: &str) -> bool {
    let letter = |character: char| character.is_alphabetic() || character == '_';
    text.starts_with(letter) && text.chars().all(|character| letter(character) || character.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_script_are_read_and_other_groups_are_not() {
        let text = "# comment\n[other]\nx = not checked\n[console_scripts]\nserve = pkg.cli:App.main [extra]\n\
                    f2py=numpy.f2py:main\n\n[gui_scripts]\nshow = pkg : window\n";
        let commands = parse(text).expect("commands");
        assert_eq!(commands.iter().map(|command| command.name.as_str()).collect::<Vec<_>>(), ["f2py", "serve", "show"]);
        assert_eq!(
            commands[1].script("/opt/venv/bin/python"),
            "#!/opt/venv/bin/python\nimport sys\nfrom pkg.cli import App\nif __name__ == \"__main__\":\n    \
             sys.exit(App.main())\n"
        );
    }

    #[test]
    fn what_would_escape_the_folder_or_the_script_is_refused() {
        for line in [
            "../x = a:b",
            "/x = a:b",
            ".x = a:b",
            "x = a",
            "x = a:b()",
            "x = a;b:c",
            "x = a b:c",
            "x = :b",
            "= a:b",
            "x = a:b\n[console_scripts]\nx = a:c",
        ] {
            assert!(parse(&format!("[console_scripts]\n{line}\n")).is_err(), "{line}");
        }
    }
}
