//! Pages of the simple API, with a cache on disk that follows HTTP's validators.
//!
//! A cached page is used as it is while it is fresh (`Cache-Control: max-age`, else [`DEFAULT_FRESHNESS`]) and when the
//! network is forbidden. After that it is asked for with its `ETag` or date, and 304 makes it fresh again.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Error, Inner, SMALL_TIMEOUT, http_error, store_error};
use crate::packaging::{self, Project};
use crate::settings::IndexLocation;
use crate::version::wheel_tag::normalize_name;
use crate::{http, redact};

/// Media types that a page may have, with the preference of PEP 691.
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";
/// How long a page without `max-age` is fresh.
const DEFAULT_FRESHNESS: Duration = Duration::from_mins(10);
/// No page is fresh for longer than this, whatever its server says.
const LONGEST_FRESHNESS: Duration = Duration::from_hours(24);
/// Longest page that is read; the largest project of the public index has some 25 MiB.
const PAGE_LIMIT: u64 = 256 * 1024 * 1024;
/// Tries for a page whose body breaks off.
const BODY_ATTEMPTS: u32 = 3;
/// Kind of the remembered facts.
const CACHE_KIND: &str = "index-pages";

/// How much a cached page is trusted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// While it is fresh.
    Fresh,
    /// Only if the server confirms it.
    Confirmed,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum PageFormat {
    Json,
    Html,
}

/// What is kept beside a page's body.
#[derive(Clone, Serialize, Deserialize)]
struct PageHead {
    /// The address after redirects, which relative addresses start from.
    url: Url,
    format: PageFormat,
    etag: Option<String>,
    last_modified: Option<String>,
    /// Seconds since 1970.
    fetched: u64,
    fresh_until: u64,
}

impl Inner {
    pub(super) fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Error> {
        let name = normalize_name(name);
        self.pages.get((index.to_owned(), name.clone()), || {
            let location = self.location(index)?;
            Ok(self.load_page(&location, &name, Trust::Fresh)?.map(Arc::new))
        })
    }

    /// Reads a page from the cache or the index.
    pub(super) fn load_page(&self, index: &IndexLocation, name: &str, trust: Trust) -> Result<Option<Project>, Error> {
        let mut url = index.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name).push("");
        }
        let key = url.to_string();
        let what = format!("the page of `{name}`");
        let cached = self.store.recall(CACHE_KIND, &key);
        let cached = cached.as_deref().and_then(decode);
        if let Some((head, body)) = &cached {
            let now = now();
            let fresh = trust == Trust::Fresh && head.fetched <= now && now < head.fresh_until;
            if fresh || self.http.is_offline() {
                return parse(head, body.as_bytes(), index, name).map(Some);
            }
        }
        let failed = http_error(&what, &index.name);
        let validators = cached.as_ref().map(|(head, _)| head);
        let mut attempt = 1;
        loop {
            let response = self.send(index, &url, validators).map_err(&failed)?;
            let status = response.status();
            if let (StatusCode::NOT_MODIFIED, Some((head, body))) = (status, &cached) {
                let mut head = head.clone();
                (head.fetched, head.fresh_until) = freshness(response.headers());
                self.keep(&key, &head, body, response.headers()).map_err(store_error(&what, &index.name))?;
                return parse(&head, body.as_bytes(), index, name).map(Some);
            }
            if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
                || index.absent_statuses.contains(&status.as_u16())
            {
                return Ok(None);
            }
            if !status.is_success() {
                return Err(failed(http::status_error("GET", response)));
            }
            let headers = response.headers().clone();
            let final_url = response.url().clone();
            match read_body(response, PAGE_LIMIT) {
                Ok(body) => {
                    let head = page_head(&headers, final_url, &body, index, name)?;
                    let project = parse(&head, &body, index, name)?;
                    let text = String::from_utf8_lossy(&body);
                    self.keep(&key, &head, &text, &headers).map_err(store_error(&what, &index.name))?;
                    return Ok(Some(project));
                }
                Err(cause) if attempt == BODY_ATTEMPTS => {
                    let url = redact::url(&final_url);
                    return Err(failed(http::Error::Transport { method: "GET".to_owned(), url, cause }));
                }
                Err(_) => std::thread::sleep(http::backoff(attempt)),
            }
            attempt += 1;
        }
    }

    fn send(&self, index: &IndexLocation, url: &Url, validators: Option<&PageHead>) -> Result<Response, http::Error> {
        self.http.send_any(|client| {
            let mut request = self.request(client, index, url).header(header::ACCEPT, ACCEPT).timeout(SMALL_TIMEOUT);
            if let Some(etag) = validators.and_then(|head| head.etag.as_ref()) {
                request = request.header(header::IF_NONE_MATCH, etag);
            } else if let Some(date) = validators.and_then(|head| head.last_modified.as_ref()) {
                request = request.header(header::IF_MODIFIED_SINCE, date);
            }
            request
        })
    }

    fn keep(&self, key: &str, head: &PageHead, body: &str, headers: &HeaderMap) -> Result<(), crate::store::Error> {
        let Ok(line) = serde_json::to_string(head) else { return Ok(()) };
        match directives(headers).any(|directive| directive == "no-store") {
            true => Ok(()),
            false => self.store.remember(CACHE_KIND, key, &format!("{line}\n{body}")),
        }
    }
}

/// Head and body of a kept page; a damaged one counts as absent.
fn decode(text: &str) -> Option<(PageHead, &str)> {
    let (head, body) = text.split_once('\n')?;
    Some((serde_json::from_str(head).ok()?, body))
}

fn parse(head: &PageHead, body: &[u8], index: &IndexLocation, name: &str) -> Result<Project, Error> {
    let parsed = match head.format {
        PageFormat::Json => packaging::parse_json(body, &head.url, name),
        PageFormat::Html => packaging::parse_html(body, &head.url, name),
    };
    parsed.map_err(|source| Error::Page {
        project: name.to_owned(),
        index: index.name.clone(),
        url: redact::url(&head.url),
        source,
    })
}

fn page_head(
    headers: &HeaderMap,
    mut url: Url,
    body: &[u8],
    index: &IndexLocation,
    name: &str,
) -> Result<PageHead, Error> {
    let content_type = text_of(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let format = match media_type.as_str() {
        "application/vnd.pypi.simple.v1+json" | "application/json" => PageFormat::Json,
        "application/vnd.pypi.simple.v1+html" | "text/html" | "application/xhtml+xml" => PageFormat::Html,
        "" if body.trim_ascii_start().starts_with(b"{") => PageFormat::Json,
        "" => PageFormat::Html,
        _ => {
            return Err(Error::ContentType {
                project: name.to_owned(),
                index: index.name.clone(),
                url: redact::url(&url),
                found: media_type.chars().take(80).collect(),
            });
        }
    };
    let (fetched, fresh_until) = freshness(headers);
    // The head is kept on disk, and a redirect may have put a secret into the address.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    Ok(PageHead {
        url,
        format,
        etag: text_of(headers, &header::ETAG),
        last_modified: text_of(headers, &header::LAST_MODIFIED),
        fetched,
        fresh_until,
    })
}

/// Now, and until when the answer with these headers is fresh, in seconds since 1970.
fn freshness(headers: &HeaderMap) -> (u64, u64) {
    let now = now();
    let mut fresh = DEFAULT_FRESHNESS;
    for directive in directives(headers) {
        if directive == "no-cache" {
            return (now, now);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=").and_then(|value| value.trim_matches('"').parse().ok())
        {
            let age = text_of(headers, &header::AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
            fresh = Duration::from_secs(u64::saturating_sub(seconds, age)).min(LONGEST_FRESHNESS);
        }
    }
    (now, now + fresh.as_secs())
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(|directive| directive.trim().to_ascii_lowercase()))
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The body, or why it is not all there.
pub(super) fn read_body(response: Response, limit: u64) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    response.take(limit + 1).read_to_end(&mut body).map_err(|error| format!("the answer broke off: {error}"))?;
    if body.len() as u64 > limit {
        return Err(format!("the answer is longer than {limit} bytes"));
    }
    Ok(body)
}
