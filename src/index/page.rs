//! Pages of the simple API, with a cache on disk that follows HTTP's validators.
//!
//! A cached page is used as it is while it is fresh (`Cache-Control: max-age`, else [`DEFAULT_FRESHNESS`]) and when the
//! network is forbidden. After that it is asked for with its `ETag` or date, and 304 makes it fresh again. Only a page
//! that was read whole and is an index's page of that project is kept; where the cache cannot be written, work goes on
//! without it.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderName};
use url::Url;

use super::{Error, Inner, http_error, page_form, recognise};
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
/// Most room that is made for a body before it comes.
const ROOM_LIMIT: u64 = 8 * 1024 * 1024;
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum PageFormat {
    Json,
    Html,
}

/// What is kept beside a page's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageHead {
    /// The address after redirects, without secrets.
    pub(super) url: Url,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Seconds since 1970.
    pub(super) fetched: u64,
    pub(super) fresh_until: u64,
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
        let bytes = self.store.recall_bytes(CACHE_KIND, &key);
        let cached = bytes.as_deref().and_then(page_form::decode);
        if let Some(kept) = &cached {
            let now = now();
            let fresh = trust == Trust::Fresh && kept.head.fetched <= now && now < kept.head.fresh_until;
            if (fresh || self.http.is_offline())
                && let Some(project) = kept.project(name)
            {
                return Ok(Some(project));
            }
        }
        let failed = http_error(&what, &index.name);
        // Validators are of use only with a page that can be read.
        let known = cached.and_then(|kept| kept.project(name).map(|project| (kept.head, project)));
        let validators = known.as_ref().map(|(head, _)| head);
        let mut attempt = 1;
        loop {
            let response = self.send(index, &url, validators, attempt).map_err(&failed)?;
            let status = response.status();
            if let (StatusCode::NOT_MODIFIED, Some((head, project))) = (status, &known) {
                let mut head = head.clone();
                (head.fetched, head.fresh_until) = freshness(response.headers());
                self.keep(&key, &head, project, response.headers());
                return Ok(known.map(|(_, project)| project));
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
                    let format = page_format(&headers, &final_url, &body, index, name)?;
                    let project = parse(format, &final_url, &body, index, name)?;
                    self.keep(&key, &page_head(&headers, final_url), &project, &headers);
                    return Ok(Some(project));
                }
                Err(cause) if attempt == http::ATTEMPTS || cause.is_final() => {
                    let url = redact::url(&final_url);
                    let cause = cause.to_string();
                    return Err(failed(http::Error::Transport { method: "GET".to_owned(), url, cause }));
                }
                Err(_) => std::thread::sleep(http::backoff(attempt)),
            }
            attempt += 1;
        }
    }

    fn send(
        &self,
        index: &IndexLocation,
        url: &Url,
        validators: Option<&PageHead>,
        attempt: u32,
    ) -> Result<Response, http::Error> {
        self.http.send_any(|client| {
            let mut request = self.request(client, index, url).header(header::ACCEPT, ACCEPT);
            request = request.timeout(self.patience_of(attempt));
            if let Some(etag) = validators.and_then(|head| head.etag.as_ref()) {
                request = request.header(header::IF_NONE_MATCH, etag);
            } else if let Some(date) = validators.and_then(|head| head.last_modified.as_ref()) {
                request = request.header(header::IF_MODIFIED_SINCE, date);
            }
            request
        })
    }

    /// Keeps a page. A cache that cannot be written costs time at the next run and nothing now.
    fn keep(&self, key: &str, head: &PageHead, project: &Project, headers: &HeaderMap) {
        if !directives(headers).any(|directive| directive == "no-store") {
            let _ = self.store.remember_bytes(CACHE_KIND, key, &page_form::encode(head, project));
        }
    }
}

/// Reads a page that is one of an index and of this project.
fn parse(format: PageFormat, base: &Url, body: &[u8], index: &IndexLocation, name: &str) -> Result<Project, Error> {
    let address = || redact::url(base);
    let parsed = match format {
        PageFormat::Json => packaging::parse_json(body, base, name),
        PageFormat::Html => packaging::parse_html(body, base, name),
    };
    let project = parsed.map_err(|source| Error::Page {
        project: name.to_owned(),
        index: index.name.clone(),
        url: address(),
        source,
    })?;
    let doubt = recognise::doubt(&project, (format == PageFormat::Html).then_some(body));
    match doubt {
        None => Ok(project),
        Some(doubt) => {
            Err(Error::NotIndexPage { project: project.name, index: index.name.clone(), url: address(), doubt })
        }
    }
}

fn page_format(
    headers: &HeaderMap,
    url: &Url,
    body: &[u8],
    index: &IndexLocation,
    name: &str,
) -> Result<PageFormat, Error> {
    let content_type = text_of(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/vnd.pypi.simple.v1+json" | "application/json" => Ok(PageFormat::Json),
        "application/vnd.pypi.simple.v1+html" | "text/html" | "application/xhtml+xml" => Ok(PageFormat::Html),
        "" if body.trim_ascii_start().starts_with(b"{") => Ok(PageFormat::Json),
        "" => Ok(PageFormat::Html),
        _ => Err(Error::ContentType {
            project: name.to_owned(),
            index: index.name.clone(),
            url: redact::url(url),
            found: media_type.chars().take(80).collect(),
        }),
    }
}

fn page_head(headers: &HeaderMap, mut url: Url) -> PageHead {
    let (fetched, fresh_until) = freshness(headers);
    // The head is kept on disk, and a redirect may have put a secret into the address.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    PageHead {
        url,
        etag: text_of(headers, &header::ETAG),
        last_modified: text_of(headers, &header::LAST_MODIFIED),
        fetched,
        fresh_until,
    }
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

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the answer broke off: {0}")]
    BrokeOff(String),
    #[error("the answer is longer than {0} bytes")]
    TooLong(u64),
}

impl BodyError {
    /// Whether asking again brings the same.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::TooLong(_))
    }
}

/// The whole body.
pub(super) fn read_body(response: Response, limit: u64) -> Result<Vec<u8>, BodyError> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(BodyError::TooLong(limit));
    }
    // Room for the announced length, as far as it is believable, saves copying.
    let announced = response.content_length().unwrap_or(0).min(ROOM_LIMIT);
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    let count = response.take(limit + 1).read_to_end(&mut body);
    count.map_err(|error| BodyError::BrokeOff(http::innermost(&error)))?;
    if body.len() as u64 > limit { Err(BodyError::TooLong(limit)) } else { Ok(body) }
}
