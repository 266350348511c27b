//! Lists that a registry gives in pages, each with a `Link` to the next.

use reqwest::header::{HeaderName, HeaderValue, LINK};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::auth::Scopes;
use super::client::{Question, read_limited};
use super::{Endpoint, Error, MANIFEST_LIMIT, Registries};

/// Pages that are followed, so that a registry cannot keep a client busy for ever.
const PAGES: usize = 200;

impl Registries {
    /// The pages of a list from `first` on.
    pub(super) fn pages<Page: DeserializeOwned>(
        &self,
        operation: &'static str,
        endpoint: &Endpoint,
        first: Url,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Vec<Page>, Error> {
        let mut next = Some(first);
        let mut pages = Vec::new();
        for _ in 0..PAGES {
            let Some(url) = next.take() else { return Ok(pages) };
            let answer = self.ask(&Question {
                operation,
                endpoint,
                scopes: &Scopes::pull(&endpoint.repository),
                method: Method::GET,
                url: url.clone(),
                headers: headers.to_vec(),
                body: None,
            })?;
            match answer.status() {
                StatusCode::OK => {}
                // What a registry says to the first page is about the list; later it is about a promise it made.
                _ if pages.is_empty() => return Err(self.answer_error(operation, endpoint, answer)),
                status => return Err(endpoint.protocol(operation, format!("the list breaks off with {status}"))),
            }
            let link = answer.headers().get(LINK).and_then(|link| link.to_str().ok()).map(str::to_owned);
            let bytes = read_limited(operation, endpoint, answer, MANIFEST_LIMIT)?;
            let page = serde_json::from_slice(&bytes)
                .map_err(|cause| endpoint.protocol(operation, format!("the list cannot be read ({cause})")))?;
            pages.push(page);
            next = link.as_deref().and_then(|link| next_page(&url, link));
            if next.as_ref().is_some_and(|next| !endpoint.owns(next)) {
                // The token is for this host alone.
                return Err(endpoint.protocol(operation, "the list goes on at another host".to_owned()));
            }
        }
        Err(endpoint.protocol(operation, format!("the list has more than {PAGES} pages")))
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
