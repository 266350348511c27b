//! Reads `WWW-Authenticate` (RFC 9110, section 11.6.1): several challenges in one header or in several, parameters as tokens
//! or quoted strings. The comma that separates parameters also separates challenges, so a challenge starts where a word is
//! not followed by `=`.

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from `realm`.
    Bearer {
        /// Address of the token service.
        realm: String,
        /// Name of the registry there.
        service: Option<String>,
        /// Scopes it would accept, separated by spaces.
        scope: Option<String>,
    },
    /// User name and password.
    Basic,
    /// A scheme we do not speak.
    Other(String),
}

/// The challenges of one header value. Text that is none is passed over.
pub(super) fn parse(value: &str) -> Vec<Challenge> {
    let mut raw: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = value.trim_start_matches(is_separator);
    while !rest.is_empty() {
        let (word, after) = token(rest);
        if word.is_empty() {
            // Not a token: skip the character, so that every turn makes progress.
            rest = rest.get(rest.chars().next().map_or(1, char::len_utf8)..).unwrap_or("");
            continue;
        }
        let after_blank = after.trim_start_matches([' ', '\t']);
        match (after_blank.strip_prefix('='), raw.last_mut()) {
            (Some(text), Some((_, parameters))) => {
                let (content, remaining) = parameter_value(text.trim_start_matches([' ', '\t']));
                parameters.push((word.to_ascii_lowercase(), content));
                rest = remaining;
            }
            // A parameter before any scheme belongs to nobody.
            (Some(text), None) => rest = parameter_value(text.trim_start_matches([' ', '\t'])).1,
            (None, _) => {
                raw.push((word.to_owned(), Vec::new()));
                rest = after_blank;
            }
        }
        rest = rest.trim_start_matches(is_separator);
    }
    raw.into_iter().map(|(scheme, parameters)| challenge(&scheme, parameters)).collect()
}

fn challenge(scheme: &str, parameters: Vec<(String, String)>) -> Challenge {
    let find = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, content)| content.clone()).filter(|content| !content.is_empty())
    };
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => match find("realm") {
            Some(realm) => Challenge::Bearer { realm, service: find("service"), scope: find("scope") },
            None => Challenge::Other(scheme.to_owned()),
        },
        "basic" => Challenge::Basic,
        _ => Challenge::Other(scheme.to_owned()),
    }
}

fn is_separator(letter: char) -> bool {
    matches!(letter, ',' | ' ' | '\t')
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !(letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)));
    text.split_at(end.unwrap_or(text.len()))
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        // Unquoted URLs are seen in the wild though they are no tokens.
        let end = text.find(is_separator).unwrap_or(text.len());
        let (content, rest) = text.split_at(end);
        return (content.to_owned(), rest);
    };
    let mut content = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (content, quoted.get(at + 1..).unwrap_or("")),
            '\\' => content.extend(letters.next().map(|(_, escaped)| escaped)),
            other => content.push(other),
        }
    }
    (content, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bearer_challenge_with_a_comma_inside_its_scope() {
        let value =
            r#"Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push""#;
        assert_eq!(
            parse(value),
            [Challenge::Bearer {
                realm: "https://auth.test/token".into(),
                service: Some("registry.test".into()),
                scope: Some("repository:a/b:pull,push".into()),
            }]
        );
    }

    #[test]
    fn several_challenges_in_one_header() {
        let value = r#"Negotiate, Basic realm="a \"quoted\" realm, really", bearer realm=https://auth.test/token , Digest qop="auth""#;
        assert_eq!(
            parse(value),
            [
                Challenge::Other("Negotiate".into()),
                Challenge::Basic,
                Challenge::Bearer { realm: "https://auth.test/token".into(), service: None, scope: None },
                Challenge::Other("Digest".into()),
            ]
        );
    }

    #[test]
    fn damaged_headers_give_what_they_hold() {
        assert_eq!(parse(""), []);
        assert_eq!(parse("=,=\"x"), [Challenge::Other("x".into())]);
        assert_eq!(parse("Bearer"), [Challenge::Other("Bearer".into())]);
        assert_eq!(
            parse("Bearer realm=\"https://auth.test"),
            [Challenge::Bearer { realm: "https://auth.test".into(), service: None, scope: None }]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
            parse(&text);
        }

        #[test]
        fn quoted_parameters_come_back_as_they_were(realm in "[ -~]{1,40}", service in "[ -~]{1,40}", scope in "[ -~]{1,40}") {
            let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let value = format!("Basic realm=x, Bearer realm={}, service={},scope={}", quote(&realm), quote(&service), quote(&scope));
            let expected = Challenge::Bearer { realm, service: Some(service), scope: Some(scope) };
            prop_assert_eq!(parse(&value), vec![Challenge::Basic, expected]);
        }
    }
}
