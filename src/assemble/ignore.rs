//! `.dockerignore`: which project files stay out of the image, the same for both branches of the plan.
//!
//! Source: "Build context, .dockerignore files" of Docker's documentation, and Go's `filepath.Match`, which it builds on.
//! Patterns start at the folder's root, `*` stops at `/`, a match of a folder covers what is below it, `!` takes a match
//! back, and the last pattern that matches decides.

use globset::{GlobBuilder, GlobMatcher};

/// The rules of one file, in order.
#[derive(Debug, Default)]
pub struct IgnoreRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    matcher: GlobMatcher,
    excludes: bool,
}

/// A line that is no pattern.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of `.dockerignore` is not a pattern: {source}")]
pub struct PatternError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub source: globset::Error,
}

impl IgnoreRules {
    /// The rules of a file's text.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut rules = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (excludes, pattern) = match line.strip_prefix('!') {
                Some(rest) => (false, rest.trim()),
                None => (true, line),
            };
            let parts: Vec<&str> = pattern.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
            if parts.is_empty() {
                continue;
            }
            // Braces have no meaning there.
            let pattern = parts.join("/").replace('{', "[{]").replace('}', "[}]");
            let glob = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build();
            let matcher = glob.map_err(|source| PatternError { line: index + 1, source })?.compile_matcher();
            rules.push(Rule { matcher, excludes });
        }
        Ok(Self(rules))
    }

    /// Whether a path, relative to the folder of the file, stays out.
    pub fn excludes(&self, path: &str) -> bool {
        let matches = |rule: &Rule| {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|end| path.get(..end).is_some_and(|part| rule.matcher.is_match(part)))
        };
        self.0.iter().rev().find(|rule| matches(rule)).is_some_and(|rule| rule.excludes)
    }

    /// Whether a folder that is excluded may hold something that is not.
    pub fn has_exceptions(&self) -> bool {
        self.0.iter().any(|rule| !rule.excludes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_match_decides() {
        let rules = IgnoreRules::parse(
            "# comment\n*.log\n!keep.log\n/build/\n**/__pycache__\n**/*.pyc\ndocs/*\n!docs/README.md\nodd{name}\n",
        )
        .expect("patterns");
        for (path, excluded) in [
            ("a.log", true),
            ("keep.log", false),
            ("sub/a.log", false),
            ("build", true),
            ("build/x/y", true),
            ("src/build", false),
            ("__pycache__", true),
            ("src/a/__pycache__/b", true),
            ("x.pyc", true),
            ("src/x.pyc", true),
            ("docs/guide.md", true),
            ("docs/README.md", false),
            ("odd{name}", true),
            ("# comment", false),
        ] {
            assert_eq!(rules.excludes(path), excluded, "{path}");
        }
    }

    #[test]
    fn a_damaged_pattern_names_its_line() {
        assert_eq!(IgnoreRules::parse("a\n[b\n").map_err(|error| error.line).err(), Some(2));
    }
}
