//! Quoting for the languages of the generated files. Each function states the reader it writes for; Tera's own escaping
//! is for HTML, so templates use these as filters.

/// One word for a POSIX shell; bare where that is safe.
pub(super) fn shell_word(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// One word for a Dockerfile instruction that expands variables (`ENV`, `LABEL`, `ARG`, `WORKDIR`, `USER`). Inside double
/// quotes the Dockerfile lexer knows `\"`, `\\` and `\$` and no escape for a newline. Trailing backslashes stand outside,
/// because hadolint takes the last of them for the escape of the closing quote.
pub(super) fn docker_word(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let body = text.trim_end_matches('\\');
    let mut word = String::with_capacity(text.len() + 2);
    word.push('"');
    for character in body.chars() {
        if matches!(character, '"' | '\\' | '$') {
            word.push('\\');
        }
        word.push(character);
    }
    word.push('"');
    if body.len() < text.len() {
        word.push_str(&r"\\".repeat(text.len() - body.len()));
        word.push_str("\"\"");
    }
    word
}

/// A JSON array for `COPY`, `RUN`, `ENTRYPOINT` and `CMD`.
pub(super) fn exec_form(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| json_string(word)).collect();
    format!("[{}]", words.join(", "))
}

/// The operand of `RUN` for a shell command: as it is where BuildKit hands it to the shell unchanged, else in exec form.
/// Not handed over unchanged are several lines, here-documents, a trailing escape, flags and JSON arrays.
pub(super) fn run_form(command: &str) -> String {
    let changed = command.trim() != command
        || command.is_empty()
        || command.contains(|character: char| character.is_control())
        || command.contains("<<")
        || command.ends_with('\\')
        || command.starts_with("--")
        || command.starts_with('[');
    if changed { exec_form(&["/bin/sh".to_owned(), "-c".to_owned(), command.to_owned()]) } else { command.to_owned() }
}

/// A path as `COPY` takes it in its JSON form: the lexer expands variables first, then source paths are patterns.
pub(super) fn copy_source(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for character in path.chars() {
        match character {
            '*' | '?' | '[' => pattern.extend(['[', character, ']']),
            '\\' => pattern.push_str(r"\\"),
            other => pattern.push(other),
        }
    }
    copy_target(&pattern)
}

/// A path of `COPY` that is no pattern.
pub(super) fn copy_target(path: &str) -> String {
    let mut word = String::with_capacity(path.len());
    for character in path.chars() {
        if matches!(character, '"' | '\'' | '\\' | '$') {
            word.push('\\');
        }
        word.push(character);
    }
    word
}

/// A string for a Compose file: a double-quoted YAML scalar in which `$$` stands for a dollar sign.
pub(super) fn compose_string(text: &str) -> String {
    json_string(&text.replace('$', "$$"))
}

/// A name for PostgreSQL; bare only where its parser gives the same name back, and no keyword is at stake.
pub(super) fn sql_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text for the rest of a comment line.
pub(super) fn comment(text: &str) -> String {
    text.split(|character: char| character.is_control()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// JSON, which YAML reads as well: characters that YAML wants escaped are.
fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str(r"\\"),
            '\n' => json.push_str(r"\n"),
            '\t' => json.push_str(r"\t"),
            '\r' => json.push_str(r"\r"),
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                json.push_str(&format!("\\u{:04x}", character as u32));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

/// Letters, digits and marks that neither a shell nor a Dockerfile gives a meaning to.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:@%+,".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What a Dockerfile's lexer makes of one word: the double-quote rules of its `processDoubleQuote`, the bare ones of
    /// `processStopOn`, and no variables set.
    fn read_docker_word(word: &str) -> String {
        let mut text = String::new();
        let mut characters = word.chars().peekable();
        let mut quoted = false;
        while let Some(character) = characters.next() {
            match character {
                '"' => quoted = !quoted,
                '\\' if quoted && !matches!(characters.peek(), Some('"' | '$' | '\\')) => text.push('\\'),
                '\\' => text.extend(characters.next()),
                '$' => return "expanded".to_owned(),
                '\'' if !quoted => return "quoted".to_owned(),
                other => text.push(other),
            }
        }
        text
    }

    /// Go's `filepath.Match` for a pattern that should match exactly one text.
    fn read_pattern(pattern: &str) -> Option<String> {
        let mut text = String::new();
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            match character {
                '*' | '?' => return None,
                '\\' => text.push(characters.next()?),
                '[' => {
                    text.push(characters.next()?);
                    if characters.next()? != ']' {
                        return None;
                    }
                }
                other => text.push(other),
            }
        }
        Some(text)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_reads_the_word_back(text in "[^\\x00]{0,24}") {
            let script = format!("printf '%s' {}", shell_word(&text));
            let output = Command::new("sh").arg("-c").arg(&script).output().expect("sh runs");
            prop_assert_eq!(output.stdout, text.into_bytes());
        }
    }

    proptest! {
        #[test]
        fn a_dockerfile_reads_the_word_back(text in "[ -~äß→\\t]{0,24}") {
            let word = docker_word(&text);
            prop_assert_eq!(read_docker_word(&word), text);
        }

        #[test]
        fn json_and_yaml_read_strings_back(text in any::<String>()) {
            let json = exec_form(std::slice::from_ref(&text));
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&json).expect("JSON"), vec![text.clone()]);
            let yaml: Vec<String> = serde_saphyr::from_str(&format!("- {}\n", compose_string(&text))).expect("YAML");
            prop_assert_eq!(yaml, vec![text.replace('$', "$$")]);
        }

        #[test]
        fn copy_means_one_path(text in "[a-z*?\\[\\]\\\\$\"' ^-]{1,16}") {
            let word = copy_source(&text);
            // The lexer takes a backslash away from whatever follows it.
            let mut pattern = String::new();
            let mut characters = word.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => pattern.extend(characters.next()),
                    '$' | '"' | '\'' => prop_assert!(false, "bare {character} in {word}"),
                    other => pattern.push(other),
                }
            }
            prop_assert_eq!(read_pattern(&pattern), Some(text));
        }

        #[test]
        fn a_run_command_stays_one_line(command in any::<String>()) {
            prop_assert!(!run_form(&command).contains('\n'));
        }
    }

    #[test]
    fn plain_words_stay_bare() {
        assert_eq!(shell_word("python3.11-venv"), "python3.11-venv");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(docker_word("/workspace"), "/workspace");
        assert_eq!(docker_word("a $b \"c\" \\"), r#""a \$b \"c\" "\\"""#);
    }

    #[test]
    fn commands_that_buildkit_would_change_take_the_exec_form() {
        assert_eq!(run_form("make -C /workspace/ext && echo \"$HOME\""), "make -C /workspace/ext && echo \"$HOME\"");
        for command in ["a\nb", "cat <<EOF", "echo \\", "--mount=type=bind true", "[ -e x ]", " x", ""] {
            assert!(run_form(command).starts_with(r#"["/bin/sh", "-c", "#), "{command}");
        }
    }
}
