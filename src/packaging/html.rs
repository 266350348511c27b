//! PEP 503 pages: the simple API as HTML.
//!
//! A page is a list of anchors, so a scanner of tags and attributes is enough; it knows comments, quotes, the entities
//! that stand in attributes, and `<base href>`. Whatever else a page holds is passed over. A file's name is the last
//! segment of its address, as for pip.

use std::borrow::Cow;

use url::Url;

use super::{Classifier, Error, MetadataOffer, Project, ProjectFile, SpecifierCache};
use crate::oci::Digest;

/// Reads an HTML page. `base` is the page's own address, which relative file addresses start from; `name` is the project
/// that was asked for, normalised.
pub fn parse_html(bytes: &[u8], base: &Url, name: &str) -> Result<Project, Error> {
    let text = String::from_utf8_lossy(bytes);
    let mut base = Cow::Borrowed(base);
    let mut files = Vec::new();
    let mut seen_tag = false;
    let mut specifiers = SpecifierCache::default();
    let mut names = Classifier::new(name);
    for tag in (Tags { rest: &text }) {
        seen_tag = true;
        if tag.name.eq_ignore_ascii_case("a") {
            files.extend(project_file(tag.attributes, &base, &mut names, &mut specifiers));
        } else if tag.name.eq_ignore_ascii_case("base") {
            let href = Attributes { rest: tag.attributes }.find(|(key, _)| key.eq_ignore_ascii_case("href"));
            if let Some(url) = href.and_then(|(_, value)| base.join(decode_entities(value).trim()).ok()) {
                base = Cow::Owned(url);
            }
        }
    }
    if seen_tag { Ok(Project { name: name.to_owned(), files }) } else { Err(Error::NotHtml) }
}

/// `None` for an anchor that leads to no file.
fn project_file<'a>(
    attributes: &'a str,
    base: &Url,
    names: &mut Classifier<'_>,
    specifiers: &mut SpecifierCache<'a>,
) -> Option<ProjectFile> {
    let (mut href, mut requires_python, mut yanked) = (None, None, None);
    let (mut core_metadata, mut dist_info_metadata) = (None, None);
    for (key, value) in (Attributes { rest: attributes }) {
        let slot = match key.to_ascii_lowercase().as_str() {
            "href" => &mut href,
            "data-requires-python" => &mut requires_python,
            "data-yanked" => &mut yanked,
            "data-core-metadata" => &mut core_metadata,
            "data-dist-info-metadata" => &mut dist_info_metadata,
            _ => continue,
        };
        slot.get_or_insert(decode_entities(value));
    }
    let mut url = base.join(href?.trim()).ok()?;
    let digest = url.fragment().and_then(sha256_of);
    url.set_fragment(None);
    let filename = percent_decode(url.path_segments()?.next_back()?);
    if filename.is_empty() || filename.contains('/') {
        return None;
    }
    let (kind, version) = names.classify(&filename);
    let metadata = core_metadata.or(dist_info_metadata).filter(|value| value != "false");
    Some(ProjectFile {
        filename,
        kind,
        version,
        url,
        size: None,
        digest,
        requires_python: requires_python.and_then(|text| specifiers.get(text)),
        yanked: yanked.map(Cow::into_owned),
        metadata: match metadata {
            Some(value) => MetadataOffer::Advertised { digest: sha256_of(&value) },
            None => MetadataOffer::Unknown,
        },
    })
}

/// The digest of `sha256=<hex>`, alone or among other parts joined with `&`.
fn sha256_of(text: &str) -> Option<Digest> {
    text.split('&').find_map(|part| Digest::from_hex(part.strip_prefix("sha256=")?).ok())
}

struct Tag<'a> {
    name: &'a str,
    attributes: &'a str,
}

/// Start tags of a page, in order.
struct Tags<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        loop {
            let (_, after) = self.rest.split_once('<')?;
            if let Some(comment) = after.strip_prefix("!--") {
                self.rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
                continue;
            }
            let name_end = after.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(after.len());
            let (name, after) = after.split_at(name_end);
            if name.is_empty() {
                // An end tag, a declaration, or a lone `<`.
                self.rest = after;
                continue;
            }
            let end = tag_end(after);
            let (attributes, rest) = after.split_at(end);
            self.rest = rest;
            return Some(Tag { name, attributes });
        }
    }
}

/// Offset of the `>` that ends a tag, which may stand in quotes before.
fn tag_end(text: &str) -> usize {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// Attributes of a tag as written; one without a value has an empty one.
struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let blank = |character: char| character.is_ascii_whitespace() || character == '/';
        let text = self.rest.trim_start_matches(|character| blank(character) || "=\"'".contains(character));
        let key_end = text.find(|character: char| character.is_ascii_whitespace() || "=/\"'".contains(character));
        let (key, after) = text.split_at(key_end.unwrap_or(text.len()));
        if key.is_empty() {
            return None;
        }
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            self.rest = after;
            return Some((key, ""));
        };
        let (value, rest) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inner = &value[1..];
                inner.split_once(quote).unwrap_or((inner, ""))
            }
            _ => value.split_at(value.find(|character: char| character.is_ascii_whitespace()).unwrap_or(value.len())),
        };
        self.rest = rest;
        Some((key, value))
    }
}

/// Resolves numeric references and the five named ones that XML has; others stay as they are.
fn decode_entities(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        // The longest reference is `&#1114111;`; looking further would make a page of `&` quadratic.
        let end = after.bytes().take(10).position(|byte| byte == b';');
        let named = end.and_then(|end| Some((entity(after.get(..end)?)?, after.get(end + 1..)?)));
        let (character, following) = named.unwrap_or(('&', after));
        decoded.push(character);
        rest = following;
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Undoes percent encoding; a `%` that starts no escape stays.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, following @ ..] = rest {
        rest = following;
        let escape = match (*first, following) {
            (b'%', [high, low, after @ ..]) => hex_digit(*high).zip(hex_digit(*low)).map(|digits| (digits, after)),
            _ => None,
        };
        match escape {
            Some(((high, low), after)) => {
                bytes.push(16 * high + low);
                rest = after;
            }
            None => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| digit.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base() -> Url {
        Url::parse("https://index.example/simple/foo/").expect("a URL")
    }

    #[test]
    fn anchors_become_files() {
        let hex = "cd".repeat(32);
        let page = format!(
            "<!DOCTYPE html><html><head><title>Links > all</title></head><body><!-- <a href='gone.whl'> -->\n\
             <A HREF=\"../../whl/foo-1.0%2Bcu121-py3-none-any.whl#sha256={hex}\" \
                data-requires-python=\"&gt;=3.8&#x2c;&lt;4\" data-dist-info-metadata='sha256={hex}'>foo > x</a><br/>\n\
             <a data-yanked href = foo-0.9.tar.gz rel=internal>foo-0.9.tar.gz</a>\
             <a href='foo-0.8.tar.gz' data-yanked=\"it&apos;s bad &unknown; &\" data-core-metadata=true></a>\
             <a name=x>no address</a> <a href=\"https://elsewhere.example/\">home</a>"
        );
        let project = parse_html(page.as_bytes(), &base(), "foo").expect("a page");
        let digest = Digest::from_hex(&hex).expect("hex");
        let [wheel, sdist, old] = project.files.as_slice() else { panic!("three files: {project:?}") };
        assert_eq!(wheel.filename, "foo-1.0+cu121-py3-none-any.whl");
        assert_eq!(wheel.url.as_str(), "https://index.example/whl/foo-1.0%2Bcu121-py3-none-any.whl");
        assert_eq!(wheel.version.as_ref().map(ToString::to_string).as_deref(), Some("1.0+cu121"));
        assert_eq!(wheel.requires_python.as_ref().map(ToString::to_string).as_deref(), Some(">=3.8, <4"));
        assert_eq!((wheel.digest, wheel.metadata), (Some(digest), MetadataOffer::Advertised { digest: Some(digest) }));
        assert_eq!((sdist.yanked.as_deref(), sdist.metadata), (Some(""), MetadataOffer::Unknown));
        assert_eq!(sdist.url.as_str(), "https://index.example/simple/foo/foo-0.9.tar.gz");
        assert_eq!(old.yanked.as_deref(), Some("it's bad &unknown; &"));
        assert_eq!(old.metadata, MetadataOffer::Advertised { digest: None });
    }

    #[test]
    fn the_base_element_moves_relative_addresses() {
        let page = b"<base href='/files/'><a href=foo-1.zip>x</a>";
        let project = parse_html(page, &base(), "foo").expect("a page");
        assert_eq!(project.files[0].url.as_str(), "https://index.example/files/foo-1.zip");
    }

    #[test]
    fn plain_text_is_no_page() {
        assert_eq!(parse_html(b"not found", &base(), "foo"), Err(Error::NotHtml));
        assert_eq!(parse_html(b"<html></html>", &base(), "foo").map(|project| project.files.len()), Ok(0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), tags in "[<>a \"'=/&;#x0-9!%é-]{0,80}") {
            let _ = parse_html(&bytes, &base(), "foo");
            let _ = parse_html(tags.as_bytes(), &base(), "foo");
            let _ = parse_html(format!("<a href=\"{tags}\" data-yanked='{tags}'>").as_bytes(), &base(), "foo");
        }
    }
}
