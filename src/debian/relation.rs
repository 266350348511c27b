//! Relations between packages, `a (>= 1) | b:any [amd64], c` (deb-control(5), Debian Policy 7.1).

use std::fmt;

use super::version::DebianVersion;

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionRelation {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// One package name with what its version must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Package or virtual package, without qualifier.
    pub name: String,
    /// Version bound.
    pub version: Option<(VersionRelation, DebianVersion)>,
}

/// Alternatives, of which one must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationGroup(pub Vec<Relation>);

impl Relation {
    /// A relation that any version fulfils.
    pub fn any(name: &str) -> Self {
        Self { name: name.to_owned(), version: None }
    }

    /// Whether a package of this relation's name fulfils it with `version`.
    pub fn allows(&self, version: &DebianVersion) -> bool {
        self.version.as_ref().is_none_or(|(relation, bound)| match relation {
            VersionRelation::Earlier => version < bound,
            VersionRelation::EarlierOrEqual => version <= bound,
            VersionRelation::Equal => version == bound,
            VersionRelation::LaterOrEqual => version >= bound,
            VersionRelation::Later => version > bound,
        })
    }

    /// Whether a package that provides this name, with or without a version, fulfils it.
    pub fn allows_provided(&self, version: Option<&DebianVersion>) -> bool {
        self.version.is_none() || version.is_some_and(|version| self.allows(version))
    }

    /// Parses one alternative. `None` if it does not concern `architecture` or is no relation at all; a qualifier
    /// that names another architecture makes the name one that no package has.
    fn parse(text: &str, architecture: &str) -> Option<Self> {
        let (name, rest) = Self::split(text, architecture)?;
        let version = match rest.split_once('(').and_then(|(_, rest)| rest.split_once(')')) {
            Some((bound, _)) => Some(parse_bound(bound)?),
            None => None,
        };
        Some(Self { name: name.to_owned(), version })
    }

    /// The name of an alternative and what stands behind it.
    fn split<'a>(text: &'a str, architecture: &str) -> Option<(&'a str, &'a str)> {
        let text = text.trim();
        let end = text.find(['(', '[', '<', ' ']).unwrap_or(text.len());
        let (qualified, rest) = text.split_at(end);
        let name = match qualified.split_once(':') {
            Some((name, "any" | "native")) => name,
            Some((name, qualifier)) if qualifier == architecture => name,
            _ => qualified,
        };
        (!name.is_empty() && concerns(rest, architecture)).then_some((name, rest))
    }
}

/// Whether `[amd64 !i386]` allows an architecture; no brackets allow all.
fn concerns(rest: &str, architecture: &str) -> bool {
    let Some((names, _)) = rest.split_once('[').and_then(|(_, rest)| rest.split_once(']')) else { return true };
    let matches = |name: &str| name == architecture || matches!(name, "any" | "linux-any");
    let mut names = names.split_whitespace().peekable();
    match names.peek().is_some_and(|name| name.starts_with('!')) {
        true => !names.any(|name| name.strip_prefix('!').is_some_and(matches)),
        false => names.any(matches),
    }
}

fn parse_bound(text: &str) -> Option<(VersionRelation, DebianVersion)> {
    let text = text.trim();
    let digits = text.find(|character| !matches!(character, '<' | '>' | '=')).unwrap_or(text.len());
    let (operator, version) = text.split_at(digits);
    let relation = match operator {
        "<<" => VersionRelation::Earlier,
        "<=" | "<" => VersionRelation::EarlierOrEqual,
        "=" => VersionRelation::Equal,
        ">=" | ">" => VersionRelation::LaterOrEqual,
        ">>" => VersionRelation::Later,
        _ => return None,
    };
    Some((relation, version.trim().parse().ok()?))
}

impl RelationGroup {
    /// Groups of a `Depends`-like field, for packages of `architecture`. A group whose alternatives all concern other
    /// architectures is left out; one that holds nothing readable stays, and nothing fulfils it.
    pub fn parse_field(field: &str, architecture: &str) -> Vec<Self> {
        let mut groups = Vec::new();
        for group in field.split(',').map(str::trim).filter(|group| !group.is_empty()) {
            let concerned: Vec<_> = group.split('|').filter(|text| concerns(text, architecture)).collect();
            if !concerned.is_empty() {
                groups.push(Self(concerned.iter().filter_map(|text| Relation::parse(text, architecture)).collect()));
            }
        }
        groups
    }

    /// Single relations of a field without alternatives: `Provides`, `Conflicts`, `Breaks`, `Replaces`.
    pub fn parse_list(field: &str, architecture: &str) -> Vec<Relation> {
        Self::parse_field(field, architecture).into_iter().flat_map(|group| group.0).collect()
    }

    /// The names of such a field, with the versions left unread.
    pub(super) fn names<'a>(field: &'a str, architecture: &'a str) -> impl Iterator<Item = &'a str> {
        field.split([',', '|']).filter_map(move |text| Some(Relation::split(text, architecture)?.0))
    }
}

impl fmt::Display for VersionRelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}
impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            Some((relation, version)) => write!(f, " ({relation} {version})"),
            None => Ok(()),
        }
    }
}
impl fmt::Display for RelationGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, relation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " | " };
            write!(f, "{separator}{relation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_alternatives_bounds_and_qualifiers() {
        let field = "libc6 (>= 2.36), default-mta | mail-transport-agent, python3:any (<< 3.12), x [!amd64], y[arm64 amd64], z:i386";
        let groups = RelationGroup::parse_field(field, "amd64");
        let texts: Vec<_> = groups.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["libc6 (>= 2.36)", "default-mta | mail-transport-agent", "python3 (<< 3.12)", "y", "z:i386"]
        );
    }

    #[test]
    fn names_are_those_of_the_relations() {
        let field = "a (= 1:2), b:any [i386], , c [amd64] (?? 1) | d:amd64,e:i386, f(= 1)";
        let names: Vec<_> = RelationGroup::names(field, "amd64").collect();
        assert_eq!(names, ["a", "c", "d", "e:i386", "f"]);
        let relations = RelationGroup::parse_list(field, "amd64");
        assert_eq!(relations.iter().map(|relation| &*relation.name).collect::<Vec<_>>(), ["a", "d", "e:i386", "f"]);
    }

    #[test]
    fn compares_by_debians_order() {
        let relation = |text: &str| RelationGroup::parse_list(text, "amd64").remove(0);
        let version = |text: &str| text.parse::<DebianVersion>().expect("a version");
        assert!(relation("a (>= 1.0)").allows(&version("1.0-1")));
        assert!(!relation("a (>= 1.0)").allows(&version("1.0~rc1")));
        assert!(relation("a (= 1:1)").allows(&version("1:1")));
        assert!(!relation("a (<< 2)").allows(&version("2")));
        assert!(relation("a").allows_provided(None));
        assert!(!relation("a (>= 1)").allows_provided(None));
        assert!(relation("a (>= 1)").allows_provided(Some(&version("1.1"))));
    }

    #[test]
    fn an_unreadable_group_is_kept_and_empty() {
        assert_eq!(RelationGroup::parse_field("a (?? 1)", "amd64"), [RelationGroup(Vec::new())]);
    }

    proptest! {
        #[test]
        fn any_text_parses(text in "\\PC{0,80}") {
            for group in RelationGroup::parse_field(&text, "amd64") {
                let _ = group.to_string();
            }
        }
    }
}
