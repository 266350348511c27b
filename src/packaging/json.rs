//! PEP 691 pages: the simple API as JSON, with the sizes of PEP 700.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use url::Url;

use super::{Classifier, Error, MetadataOffer, Project, ProjectFile, SpecifierCache};
use crate::oci::Digest;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    meta: Meta<'a>,
    #[serde(borrow)]
    files: Vec<File<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct Meta<'a> {
    #[serde(borrow, default)]
    api_version: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File<'a> {
    #[serde(borrow)]
    filename: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow, default)]
    hashes: Flag<'a>,
    #[serde(borrow, default)]
    requires_python: Flag<'a>,
    #[serde(borrow, default)]
    yanked: Flag<'a>,
    #[serde(borrow, default)]
    core_metadata: Flag<'a>,
    #[serde(borrow, default)]
    dist_info_metadata: Flag<'a>,
    #[serde(default)]
    size: Option<u64>,
}

/// A value that is `true`, `false`, a text, or a table of hashes; PEP 691 has all four in various keys.
#[derive(Default)]
enum Flag<'a> {
    #[default]
    No,
    Yes,
    Text(Cow<'a, str>),
    Hashes(Option<Digest>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Flag<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl<'de> Visitor<'de> for FlagVisitor {
            type Value = Flag<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a text or a table of hashes")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Flag<'de>, E> {
                Ok(if value { Flag::Yes } else { Flag::No })
            }
            fn visit_unit<E>(self) -> Result<Flag<'de>, E> {
                Ok(Flag::No)
            }
            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Flag<'de>, E> {
                Ok(Flag::Text(Cow::Borrowed(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Flag<'de>, E> {
                Ok(Flag::Text(Cow::Owned(value.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flag<'de>, A::Error> {
                let mut digest = None;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == "sha256" {
                        digest = Digest::from_hex(&map.next_value::<Cow<'de, str>>()?).ok();
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Flag::Hashes(digest))
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

/// Reads a JSON page. `base` is the page's own address, which relative file addresses start from; `name` is the project
/// that was asked for, normalised.
pub fn parse_json(bytes: &[u8], base: &Url, name: &str) -> Result<Project, Error> {
    let page: Page<'_> = serde_json::from_slice(bytes).map_err(|error| Error::Json { cause: error.to_string() })?;
    if let Some(version) = &page.meta.api_version
        && version.split('.').next() != Some("1")
    {
        return Err(Error::ApiVersion { found: version.chars().take(40).collect() });
    }
    let mut specifiers = SpecifierCache::default();
    let mut names = Classifier::new(name);
    let files =
        page.files.into_iter().filter_map(|file| project_file(file, base, &mut names, &mut specifiers)).collect();
    Ok(Project { name: name.to_owned(), files })
}

/// `None` for a file whose address cannot be one.
fn project_file<'a>(
    file: File<'a>,
    base: &Url,
    names: &mut Classifier<'_>,
    specifiers: &mut SpecifierCache<'a>,
) -> Option<ProjectFile> {
    let mut url = Url::options().base_url(Some(base)).parse(&file.url).ok()?;
    url.set_fragment(None);
    let (kind, version) = names.classify(&file.filename);
    let metadata = [file.core_metadata, file.dist_info_metadata].into_iter().find_map(|flag| match flag {
        Flag::No => None,
        Flag::Yes | Flag::Text(_) => Some(MetadataOffer::Advertised { digest: None }),
        Flag::Hashes(digest) => Some(MetadataOffer::Advertised { digest }),
    });
    Some(ProjectFile {
        kind,
        version,
        url,
        size: file.size,
        digest: match file.hashes {
            Flag::Hashes(digest) => digest,
            _ => None,
        },
        requires_python: match file.requires_python {
            Flag::Text(text) => specifiers.get(text),
            _ => None,
        },
        yanked: match file.yanked {
            Flag::Text(reason) => Some(reason.into_owned()),
            Flag::Yes => Some(String::new()),
            Flag::No | Flag::Hashes(_) => None,
        },
        metadata: metadata.unwrap_or(MetadataOffer::Unknown),
        filename: file.filename.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base() -> Url {
        Url::parse("https://index.example/simple/foo/").expect("a URL")
    }

    #[test]
    fn every_field_is_read() {
        let hex = "ab".repeat(32);
        let page = format!(
            r#"{{"meta": {{"api-version": "1.1"}}, "name": "foo", "versions": ["1.0"], "files": [
              {{"filename": "foo-1.0-py3-none-any.whl", "url": "../../packages/foo-1.0-py3-none-any.whl#x", "size": 1234,
                "hashes": {{"md5": "00", "sha256": "{hex}"}}, "requires-python": ">=3.7.*", "yanked": "bro\u006ben",
                "core-metadata": {{"sha256": "{hex}"}}, "upload-time": "2024-01-01T00:00:00Z"}},
              {{"filename": "foo-1.0.tar.gz", "url": "https://files.example/foo-1.0.tar.gz", "hashes": {{}},
                "requires-python": null, "yanked": false, "dist-info-metadata": true}},
              {{"filename": "foo.exe", "url": "foo.exe", "hashes": {{"sha256": "short"}}, "yanked": true}}]}}"#
        );
        let project = parse_json(page.as_bytes(), &base(), "foo").expect("a page");
        let digest = Digest::from_hex(&hex).expect("hex");
        let [wheel, sdist, other] = project.files.as_slice() else { panic!("three files: {project:?}") };
        assert_eq!(wheel.url.as_str(), "https://index.example/packages/foo-1.0-py3-none-any.whl");
        assert_eq!((wheel.size, wheel.digest, wheel.yanked.as_deref()), (Some(1234), Some(digest), Some("broken")));
        assert_eq!(wheel.requires_python.as_ref().map(ToString::to_string).as_deref(), Some(">=3.7"));
        assert_eq!(wheel.metadata, MetadataOffer::Advertised { digest: Some(digest) });
        assert!(wheel.wheel().is_some());
        assert_eq!((&sdist.kind, sdist.size, sdist.digest), (&super::super::FileKind::Sdist, None, None));
        assert_eq!((&sdist.yanked, sdist.metadata), (&None, MetadataOffer::Advertised { digest: None }));
        assert_eq!(other.url.as_str(), "https://index.example/simple/foo/foo.exe");
        assert_eq!((other.yanked.as_deref(), other.digest, other.metadata), (Some(""), None, MetadataOffer::Unknown));
    }

    #[test]
    fn other_versions_and_other_json_are_refused() {
        let version = parse_json(br#"{"meta": {"api-version": "2.0"}, "files": []}"#, &base(), "foo");
        assert_eq!(version, Err(Error::ApiVersion { found: "2.0".into() }));
        assert!(matches!(parse_json(b"{\"message\": \"no\"}", &base(), "foo"), Err(Error::Json { .. })));
        assert!(matches!(parse_json(b"<html>", &base(), "foo"), Err(Error::Json { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), filename in "[a-z0-9.+-]{0,30}") {
            let _ = parse_json(&bytes, &base(), "foo");
            let page = format!(r#"{{"files": [{{"filename": "foo-{filename}", "url": "{filename}"}}]}}"#);
            let _ = parse_json(page.as_bytes(), &base(), "foo");
        }
    }
}
