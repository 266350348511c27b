//! The tags of a repository, page by page.

use reqwest::header::LINK;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::auth::Scopes;
use super::client::{Question, read_limited};
use super::{Endpoint, Error, MANIFEST_LIMIT, Registries};
use crate::oci::Reference;

const READ: &str = "list the tags of";
/// Pages that are followed, so that a registry cannot keep a client busy for ever.
const PAGES: usize = 200;
/// What is asked for at once; registries give what they like.
const PAGE_SIZE: usize = 1000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Registries {
    /// All tags of the reference's repository, sorted; from the mirrors first, as [`Registries::manifest`].
    pub fn tags(&self, repository: &Reference) -> Result<Vec<String>, Error> {
        let mut tags = self.first_answer(repository, |endpoint| self.tags_at(endpoint))?;
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }

    fn tags_at(&self, endpoint: &Endpoint) -> Result<Vec<String>, Error> {
        let mut next = Some(endpoint.url(READ, &format!("tags/list?n={PAGE_SIZE}"))?);
        let mut tags = Vec::new();
        for _ in 0..PAGES {
            let Some(url) = next.take() else { return Ok(tags) };
            let answer = self.ask(&Question {
                operation: READ,
                endpoint,
                scopes: &Scopes::pull(&endpoint.repository),
                method: Method::GET,
                url: url.clone(),
                headers: Vec::new(),
                body: None,
            })?;
            if answer.status() != StatusCode::OK {
                return Err(self.answer_error(READ, endpoint, answer));
            }
            let link = answer.headers().get(LINK).and_then(|link| link.to_str().ok()).map(str::to_owned);
            let bytes = read_limited(READ, endpoint, answer, MANIFEST_LIMIT)?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|cause| endpoint.protocol(READ, format!("the list cannot be read ({cause})")))?;
            tags.extend(page.tags.unwrap_or_default());
            next = link.as_deref().and_then(|link| next_page(&url, link));
            if next.as_ref().is_some_and(|next| !endpoint.owns(next)) {
                // The token is for this host alone.
                return Err(endpoint.protocol(READ, "the list goes on at another host".to_owned()));
            }
        }
        Err(endpoint.protocol(READ, format!("the list has more than {PAGES} pages")))
    }
}

/// The address of `</v2/…>; rel="next"`.
fn next_page(page: &Url, link: &str) -> Option<Url> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| parameter.trim().replace('"', "") == "rel=next");
    if is_next { page.join(target).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_relative_to_the_page() {
        let page = Url::parse("https://hub.test/v2/a/tags/list?n=2").expect("a URL");
        let next = |link: &str| next_page(&page, link).map(|url| url.to_string());
        let expected = Some("https://hub.test/v2/a/tags/list?last=x&n=2".to_owned());
        assert_eq!(next("</v2/a/tags/list?last=x&n=2>; rel=\"next\""), expected);
        assert_eq!(next("<https://hub.test/v2/a/tags/list?last=x&n=2>;rel=next"), expected);
        assert_eq!(next("</v2/a>; rel=\"prev\""), None);
        assert_eq!(next("nonsense"), None);
    }
}
