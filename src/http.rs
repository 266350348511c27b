//! One HTTP client for everything: system certificates, proxies, time-outs and retries in one place.
//!
//! A request that fails for a passing reason (connection, 408, 429, 5xx) is repeated with growing waits, at most
//! [`ATTEMPTS`] times in all; `Retry-After` is honoured up to a minute. Bodies that break off are the reader's concern: it
//! knows where to go on. A connection over which nothing moves for a minute counts as broken. Certificates come from the
//! system's store, where `SSL_CERT_FILE` and `SSL_CERT_DIR` count.

mod identity;
mod streaming;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{self, HeaderMap};
use url::Url;

use crate::diagnostic::Hint;
use crate::redact;

pub use identity::{ClientCertificate, KeyPassword, KeyProblem};
pub use streaming::{Answer, Outgoing};

/// Tries per request, the first included.
pub const ATTEMPTS: u32 = 5;

/// A connection over which nothing has moved for so long is given up. Registries may think for half a minute before they
/// answer.
const STALL: Duration = Duration::from_mins(1);

/// A client; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    offline: bool,
}

/// Reading the system's certificates takes longer than a lock out of the cache, so the client beneath is made when a
/// request first needs it.
#[derive(Debug)]
struct Inner {
    trust: Trust,
    stall: Duration,
    built: OnceLock<Result<reqwest::blocking::Client, String>>,
    streaming: OnceLock<Result<streaming::Streaming, String>>,
    requests: Arc<AtomicU64>,
}

/// Whom a client trusts beside the system's authorities, and who it is.
#[derive(Debug, Clone, Default)]
struct Trust {
    certificates: Vec<reqwest::Certificate>,
    identity: Option<reqwest::Identity>,
}

/// What the machine's settings say about HTTP.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further certificate authorities, PEM files.
    pub ca_files: Vec<PathBuf>,
    /// Refuse every request, by name.
    pub offline: bool,
    /// Give a connection up over which nothing has moved for so long; absent means a minute.
    pub stall: Option<Duration>,
}

/// Why a request has no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered, but not with success.
    #[error("{method} {url}: the server answered {status}{}", detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Status {
        /// HTTP method.
        method: String,
        /// Where, without credentials.
        url: String,
        /// The status.
        status: StatusCode,
        /// The beginning of a textual body.
        detail: Option<String>,
    },
    /// No answer: name resolution, connection, TLS, time-out, or a body that broke off.
    #[error("{method} {url}: {cause}")]
    Transport {
        /// HTTP method.
        method: String,
        /// Where, without credentials.
        url: String,
        /// What failed, innermost cause included.
        cause: String,
    },
    /// `--offline` was given and this needs the network.
    #[error("{url} is not in the cache, and `--offline` forbids fetching it")]
    Offline {
        /// Where, without credentials.
        url: String,
    },
    /// A certificate file of the settings cannot be used.
    #[error("certificate file `{path}`: {cause}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The key of a client certificate cannot be used.
    #[error("client key `{path}`: {problem}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: KeyProblem,
    },
}

impl Error {
    /// The status, if the server answered.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
    /// Whether the resource does not exist, as opposed to being out of reach.
    pub fn is_not_found(&self) -> bool {
        matches!(self.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE))
    }
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Status { status, .. } if *status == StatusCode::UNAUTHORIZED || *status == StatusCode::FORBIDDEN => {
                vec!["check the credentials for this host (netrc, `docker login`)".to_owned()]
            }
            Self::Transport { cause, .. } if cause.contains("ertificate") => vec![
                "if a proxy with its own certificate authority is between: add it to the system's store, or point `SSL_CERT_FILE` at it"
                    .to_owned(),
            ],
            Self::Transport { .. } => vec!["check the network and the proxy settings (`HTTPS_PROXY`, `NO_PROXY`)".to_owned()],
            Self::Offline { .. } => vec!["run once without `--offline`".to_owned()],
            Self::Key { path, problem } => problem.help(path),
            _ => Vec::new(),
        }
    }
}

impl Client {
    /// A client with the machine's certificates and proxies.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let certificates = read_authorities(&options.ca_files)?;
        let trust = Trust { certificates, identity: None };
        let stall = options.stall.unwrap_or(STALL);
        Ok(Self { inner: Arc::new(Inner::new(trust, stall, Arc::default())), offline: options.offline })
    }

    /// A client for one host: it trusts further authorities there, and shows a certificate of its own if the host asks for one.
    pub fn for_host(&self, ca_files: &[PathBuf], identity: Option<&ClientCertificate>) -> Result<Self, Error> {
        let mut trust = self.inner.trust.clone();
        trust.certificates.extend(read_authorities(ca_files)?);
        trust.identity = identity.map(ClientCertificate::read).transpose()?;
        let inner = Inner::new(trust, self.inner.stall, Arc::clone(&self.inner.requests));
        let client = Self { inner: Arc::new(inner), offline: self.offline };
        // Whether the key belongs to the certificate is found out when the client is made.
        match (identity, client.raw()) {
            (Some(identity), Err(Error::Transport { cause, .. })) => {
                Err(Error::Certificate { path: identity.certificate.clone(), cause })
            }
            _ => Ok(client),
        }
    }

    /// Whether requests are refused.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// How long nothing may move: the time-out for requests without a long body. It holds for the wait for an answer and anew
    /// for each piece of that.
    pub fn stall(&self) -> Duration {
        self.inner.stall
    }

    /// The client beneath, to build requests for [`Client::send`].
    pub fn raw(&self) -> Result<&reqwest::blocking::Client, Error> {
        let Inner { trust, stall, built, .. } = &*self.inner;
        let built = built.get_or_init(|| build(trust, *stall).map_err(|error| innermost(&error)));
        built.as_ref().map_err(|cause| Error::Transport {
            method: "set up".into(),
            url: "the HTTP client".into(),
            cause: cause.clone(),
        })
    }

    /// Begins a request whose body is written while it is sent, `length` bytes if that is known. There is one attempt.
    pub(crate) fn stream(
        &self,
        length: Option<u64>,
        request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Result<Outgoing, Error> {
        let Inner { trust, stall, streaming, requests, .. } = &*self.inner;
        let built = streaming.get_or_init(|| streaming::Streaming::new(builder(trust, *stall)));
        let streaming = built.as_ref().map_err(|cause| Error::Transport {
            method: "set up".into(),
            url: "the HTTP client".into(),
            cause: cause.clone(),
        })?;
        requests.fetch_add(1, Ordering::Relaxed);
        streaming.begin(length, request)
    }

    /// Requests sent so far through [`Client::send`] and its kin, repeated ones included.
    pub fn request_count(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }

    /// GET with retries; success only for 2xx.
    pub fn get(&self, url: &Url) -> Result<Response, Error> {
        self.send(|client| client.get(url.clone()))
    }

    /// Sends what `request` builds, anew for each attempt. Returns answers with 2xx and 304, anything else as an error.
    pub fn send(&self, request: impl Fn(&reqwest::blocking::Client) -> RequestBuilder) -> Result<Response, Error> {
        let response = self.send_any(request)?;
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        Err(status_error("GET", response))
    }

    /// Like [`Client::send`], but returns whatever status came after the retries, for callers that read 401 or 404.
    pub fn send_any(&self, request: impl Fn(&reqwest::blocking::Client) -> RequestBuilder) -> Result<Response, Error> {
        let mut attempt = 1;
        loop {
            let client = self.raw()?;
            let built = request(client).build().map_err(|error| Error::Transport {
                method: "build".into(),
                url: "a request".into(),
                cause: innermost(&error),
            })?;
            let (method, url) = (built.method().to_string(), redact::url(built.url()));
            if self.offline {
                return Err(Error::Offline { url });
            }
            self.inner.requests.fetch_add(1, Ordering::Relaxed);
            let (wait, outcome) = match client.execute(built) {
                Ok(response) if is_temporary(response.status()) => (retry_after(response.headers()), Ok(response)),
                Ok(response) => return Ok(response),
                Err(error) if error.is_builder() || error.is_redirect() => {
                    return Err(Error::Transport { method, url, cause: innermost(&error) });
                }
                Err(error) => (None, Err(Error::Transport { method, url, cause: innermost(&error) })),
            };
            if attempt == ATTEMPTS || outcome.as_ref().is_err_and(is_hopeless) {
                return outcome;
            }
            std::thread::sleep(wait.unwrap_or_else(|| backoff(attempt)));
            attempt += 1;
        }
    }
}

impl Inner {
    fn new(trust: Trust, stall: Duration, requests: Arc<AtomicU64>) -> Self {
        Self { trust, stall, built: OnceLock::new(), streaming: OnceLock::new(), requests }
    }
}

/// Certificate authorities of PEM files.
fn read_authorities(files: &[PathBuf]) -> Result<Vec<reqwest::Certificate>, Error> {
    let mut certificates = Vec::new();
    for path in files {
        let failed = |cause: String| Error::Certificate { path: path.clone(), cause };
        let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(innermost(&error)))?;
        if found.is_empty() {
            return Err(failed("it holds no PEM certificate".to_owned()));
        }
        certificates.extend(found);
    }
    Ok(certificates)
}

fn build(trust: &Trust, stall: Duration) -> reqwest::Result<reqwest::blocking::Client> {
    reqwest::blocking::ClientBuilder::from(builder(trust, stall)).timeout(None).build()
}

fn builder(trust: &Trust, stall: Duration) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("imgforge/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(20))
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::limited(10));
    // While a long body is on its way no answer can come: there it is the bytes sent that nobody takes or confirms.
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(stall);
    let Trust { certificates, identity } = trust.clone();
    let builder = identity.into_iter().fold(builder, reqwest::ClientBuilder::identity);
    certificates.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate)
}

/// An answer that is not what was hoped for, as an error with the start of its body.
pub fn status_error(method: &str, response: Response) -> Error {
    let status = response.status();
    let url = redact::url(response.url());
    let textual = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/plain") || value.contains("json"));
    let detail = match textual {
        true => response.text().ok().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")),
        false => None,
    };
    let detail = detail.filter(|text| !text.is_empty()).map(|text| text.chars().take(200).collect());
    Error::Status { method: method.to_owned(), url, status, detail }
}

/// Wait before attempt `attempt + 1`: 0.3 s, doubling, with some spread so that parallel requests part.
pub fn backoff(attempt: u32) -> Duration {
    let mut spread = [0u8; 1];
    let _ = getrandom::fill(&mut spread);
    Duration::from_millis((300 << (attempt - 1).min(6)) + u64::from(spread[0]))
}

/// Statuses that may pass: time-out, too early, too many requests, and the server's own failures.
pub fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// The wait a server asks for, at most a minute.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    wait_of(text, now).map(|seconds| Duration::from_secs(seconds.min(60)))
}

/// Seconds to wait from `now` on by a `Retry-After`, which is a number of seconds or a date (RFC 9110, 10.2.3).
fn wait_of(text: &str, now: u64) -> Option<u64> {
    text.trim().parse().ok().or_else(|| Some(seconds_of_date(text.trim())?.saturating_sub(now)))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the only form of a date that servers still send.
fn seconds_of_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, text) = text.split_once(", ")?;
    let parts: Vec<&str> = text.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? as u64 + 1;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = clock.as_slice() else { return None };
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) || *hour > 23 || *minute > 59 || *second > 60 {
        return None;
    }
    // Years that begin in March put the leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    // That sum for 1 January 1970.
    const EPOCH: u64 = 719_469;
    Some(((days.checked_sub(EPOCH)? * 24 + hour) * 60 + minute) * 60 + second)
}

/// Failures that repeating cannot cure: an unknown host, a certificate nobody vouches for, a server without TLS.
pub(crate) fn is_hopeless(error: &Error) -> bool {
    match error {
        Error::Transport { cause, .. } => {
            ["ertificate", "corrupt message", "dns error", "failed to lookup", "Name or service"]
                .iter()
                .any(|text| cause.contains(text))
        }
        _ => false,
    }
}

/// The last cause of an error, which says what happened; those around it say where.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_of_seconds_or_a_date() {
        let now = 784_111_770;
        assert_eq!(wait_of("120", now), Some(120));
        assert_eq!(wait_of("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(7));
        assert_eq!(wait_of("Sun, 06 Nov 1994 08:49:37 GMT", now + 100), Some(0));
        assert_eq!(seconds_of_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of_date("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        for text in
            ["soon", "", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nov 1994 8 GMT", "Sun, 99 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(wait_of(text, now), None, "{text}");
        }
    }
}
