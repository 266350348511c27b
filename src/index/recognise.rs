//! Whether an answer is a page of an index at all.
//!
//! Proxies and login pages answer 200 with HTML for people, and an index with a mistake may answer with the page of another
//! project. Read as what was asked for, such a page says that the project has no versions, and the solver would take an
//! older or another answer for it. A page with a file of the project is beyond doubt; the others must look like a page of
//! the simple API (PEP 503, PEP 629).

use std::fmt;
use std::str::FromStr as _;

use crate::packaging::{FileKind, Project};
use crate::version::wheel_tag::{WheelFilename, normalize_name};

/// What speaks against an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// It asks for a password or for other input.
    Form,
    /// It has links, and none leads to a distribution.
    OtherLinks,
    /// It has no link, and nothing says that it is the page of a project without files.
    NoLinks,
    /// Its files are those of another project.
    OtherProject {
        /// Normalised name of that project.
        found: String,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("it is a form for people, such as a login page"),
            Self::OtherLinks => f.write_str("none of its links leads to a distribution"),
            Self::NoLinks => f.write_str("it has no links, and does not say whose page it is"),
            Self::OtherProject { found } => write!(f, "it lists the files of `{found}`"),
        }
    }
}

/// Endings of what people have uploaded as distributions, beside wheels and source archives.
const OTHER_ENDINGS: [&str; 9] = [".whl", ".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg", ".zip", ".gz"];

/// What speaks against a parsed page; `html` is its text if it came as HTML.
pub(super) fn doubt(project: &Project, html: Option<&[u8]>) -> Option<Doubt> {
    if project.files.iter().any(|file| file.kind != FileKind::Other) {
        return None;
    }
    let others = project.files.iter().filter_map(|file| WheelFilename::from_str(&file.filename).ok());
    if let Some(other) = others.map(|wheel| wheel.name).find(|name| *name != project.name) {
        return Some(Doubt::OtherProject { found: other });
    }
    let text = String::from_utf8_lossy(html?).to_lowercase();
    if text.contains("pypi:repository-version") {
        return None;
    }
    if ["<form", "<input"].iter().any(|tag| text.contains(tag)) {
        return Some(Doubt::Form);
    }
    if !project.files.is_empty() {
        let is_distribution = |name: &str| OTHER_ENDINGS.iter().any(|ending| name.to_lowercase().ends_with(ending));
        return (!project.files.iter().any(|file| is_distribution(&file.filename))).then_some(Doubt::OtherLinks);
    }
    let headings = ["title", "h1"].iter().filter_map(|tag| content_of(&text, tag));
    let names_the_project = headings
        .flat_map(str::split_whitespace)
        .any(|word| normalize_name(word.trim_matches(['"', '\''])) == project.name);
    (!names_the_project).then_some(Doubt::NoLinks)
}

/// The text of the first element with that tag.
fn content_of<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("<{tag}"))?;
    let (_, content) = after.split_once('>')?;
    content.split('<').next()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::packaging::{parse_html, parse_json};

    fn doubt_of(html: &str) -> Option<Doubt> {
        let base = Url::parse("https://index.example/simple/foo-bar/").expect("a URL");
        let project = parse_html(html.as_bytes(), &base, "foo-bar").expect("a page");
        doubt(&project, Some(html.as_bytes()))
    }

    #[test]
    fn pages_of_the_project_are_believed_even_when_empty() {
        assert_eq!(doubt_of("<a href='foo_bar-1-py3-none-any.whl'>x</a><form>"), None);
        assert_eq!(doubt_of("<a href='foo_bar-1-py2.7.egg'>x</a>"), None);
        assert_eq!(doubt_of("<title>Links for Foo_Bar</title>"), None);
        assert_eq!(doubt_of("<html><body><h1>Links for foo-bar</h1></body></html>"), None);
        assert_eq!(doubt_of("<meta name='pypi:repository-version' content='1.0'><title>Simple index</title>"), None);
    }

    #[test]
    fn pages_for_people_are_not() {
        assert_eq!(doubt_of("<title>Log in</title><form action='/login'><input name=user></form>"), Some(Doubt::Form));
        assert_eq!(doubt_of("<title>Hello</title><a href='/about'>About us</a>"), Some(Doubt::OtherLinks));
        assert_eq!(doubt_of("<div id=root></div><script src='app.js'></script>"), Some(Doubt::NoLinks));
        assert_eq!(doubt_of("<title>foo-bar-baz</title>"), Some(Doubt::NoLinks));
    }

    #[test]
    fn another_projects_page_is_named() {
        let html = "<title>Links for foo-bar</title><a href='other-1-py3-none-any.whl'>x</a>";
        assert_eq!(doubt_of(html), Some(Doubt::OtherProject { found: "other".into() }));
        let base = Url::parse("https://index.example/simple/foo/").expect("a URL");
        let json = br#"{"files": [{"filename": "other-1-py3-none-any.whl", "url": "x"}]}"#;
        let project = parse_json(json, &base, "foo").expect("a page");
        assert_eq!(doubt(&project, None), Some(Doubt::OtherProject { found: "other".into() }));
        let project = parse_json(br#"{"files": []}"#, &base, "foo").expect("a page");
        assert_eq!(doubt(&project, None), None);
    }
}
