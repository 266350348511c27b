//! Turns a registry's challenge into an `Authorization` header, and remembers what worked.
//!
//! Tokens are kept by registry and set of scopes: a mount needs one token that may read the source and write the target. A
//! token is used until it expires or the registry answers 401; then it is fetched anew. Identity tokens use the OAuth2 POST
//! flow, passwords and anonymous access the GET flow.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::Endpoint;
use super::challenge::{self, Challenge};
use super::credentials::{Credentials, Secret};
use super::error::{ApiError, parse_api_errors};
use super::tls::Clients;
use crate::http;

/// Life of a token whose service does not say; the specification's default.
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// A token is not used in its last seconds, so that it does not expire on the way.
const MARGIN: Duration = Duration::from_secs(5);
/// Largest token answer that is read.
const TOKEN_LIMIT: u64 = 1 << 20;

/// What a request needs to be allowed, as `repository:NAME:ACTIONS`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Read a repository.
    pub(super) fn pull(repository: &str) -> Self {
        Self(BTreeSet::from([format!("repository:{repository}:pull")]))
    }
    /// Read and write a repository.
    pub(super) fn push(repository: &str) -> Self {
        Self(BTreeSet::from([format!("repository:{repository}:pull,push")]))
    }
    /// And read another.
    pub(super) fn and_pull(mut self, repository: &str) -> Self {
        self.0.insert(format!("repository:{repository}:pull"));
        self
    }
}

/// Why there is no header that would be accepted.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Not with what is known about the user.
    Denied { user: Option<String>, errors: Vec<ApiError>, problem: Option<String> },
    /// The token service gave no answer.
    Transport(http::Error),
    /// The challenge or the token makes no sense.
    Protocol(String),
}

/// Headers by registry.
#[derive(Debug)]
pub(super) struct Authenticator {
    clients: Arc<Clients>,
    credentials: Credentials,
    /// Held while a token is fetched: parallel uploads wait for one token instead of fetching one each.
    hosts: Mutex<HashMap<String, Host>>,
}

enum Host {
    Basic(HeaderValue),
    Bearer { realm: Url, service: Option<String>, tokens: HashMap<Scopes, Token> },
}

struct Token {
    header: HeaderValue,
    expires: Instant,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic(_) => "Basic",
            Self::Bearer { .. } => "Bearer",
        })
    }
}

impl Authenticator {
    /// Knows nothing yet.
    pub(super) fn new(clients: Arc<Clients>, credentials: Credentials) -> Self {
        Self { clients, credentials, hosts: Mutex::default() }
    }

    /// The header to try first; `None` while the registry has asked for none.
    pub(super) fn header(&self, endpoint: &Endpoint, scopes: &Scopes) -> Result<Option<HeaderValue>, Refusal> {
        let mut hosts = self.lock();
        let Some(Host::Bearer { realm, service, tokens }) = hosts.get_mut(&endpoint.registry) else {
            return Ok(match hosts.get(&endpoint.registry) {
                Some(Host::Basic(header)) => Some(header.clone()),
                _ => None,
            });
        };
        if let Some(token) = tokens.get(scopes).filter(|token| token.expires > Instant::now()) {
            return Ok(Some(token.header.clone()));
        }
        let token = self.fetch_token(&endpoint.registry, realm, service.as_deref(), scopes, None)?;
        let header = token.header.clone();
        tokens.insert(scopes.clone(), token);
        Ok(Some(header))
    }

    /// The header after a 401 whose headers are `answer`; `rejected` is what was sent.
    pub(super) fn renew(
        &self,
        endpoint: &Endpoint,
        scopes: &Scopes,
        answer: &HeaderMap,
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Refusal> {
        let challenges: Vec<Challenge> = answer
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let mut hosts = self.lock();
        if let Some(Host::Bearer { tokens, .. }) = hosts.get(&endpoint.registry)
            && let Some(token) = tokens.get(scopes).filter(|token| Some(&token.header) != rejected)
        {
            return Ok(token.header.clone());
        }
        for challenge in &challenges {
            if let Challenge::Bearer { realm, service, scope } = challenge {
                let realm = check_realm(realm, endpoint)?;
                let token =
                    self.fetch_token(&endpoint.registry, &realm, service.as_deref(), scopes, scope.as_deref())?;
                let header = token.header.clone();
                let host = hosts.entry(endpoint.registry.clone()).or_insert_with(|| Host::Bearer {
                    realm: realm.clone(),
                    service: service.clone(),
                    tokens: HashMap::new(),
                });
                match host {
                    Host::Bearer { realm: known, tokens, .. } if *known == realm => {
                        tokens.insert(scopes.clone(), token);
                    }
                    other => {
                        let tokens = HashMap::from([(scopes.clone(), token)]);
                        *other = Host::Bearer { realm, service: service.clone(), tokens };
                    }
                }
                return Ok(header);
            }
        }
        let login = self.credentials.login(&endpoint.registry);
        let denied = |user| Refusal::Denied { user, errors: Vec::new(), problem: login.problem.clone() };
        if challenges.contains(&Challenge::Basic) {
            let Some(Secret::Password { user, password }) = &login.secret else {
                return Err(denied(login.secret.as_ref().map(Secret::user)));
            };
            let header = basic(user, password);
            if rejected == Some(&header) {
                return Err(denied(Some(user.clone())));
            }
            hosts.insert(endpoint.registry.clone(), Host::Basic(header.clone()));
            return Ok(header);
        }
        match challenges.iter().find_map(|challenge| match challenge {
            Challenge::Other(scheme) => Some(scheme),
            _ => None,
        }) {
            Some(scheme) => Err(Refusal::Protocol(format!("it asks for the authentication scheme `{scheme}`"))),
            None => Err(denied(login.secret.as_ref().map(Secret::user))),
        }
    }

    /// The user that requests to this registry are made as, for messages.
    pub(super) fn denial(&self, registry: &str, errors: Vec<ApiError>) -> Refusal {
        let login = self.credentials.login(registry);
        Refusal::Denied { user: login.secret.as_ref().map(Secret::user), errors, problem: login.problem }
    }

    fn fetch_token(
        &self,
        registry: &str,
        realm: &Url,
        service: Option<&str>,
        scopes: &Scopes,
        asked: Option<&str>,
    ) -> Result<Token, Refusal> {
        let login = self.credentials.login(registry);
        let mut wanted = scopes.0.clone();
        wanted.extend(asked.into_iter().flat_map(|scope| scope.split_whitespace().map(str::to_owned)));
        let http = self.clients.for_url(realm).map_err(Refusal::Transport)?;
        let answer = match &login.secret {
            Some(Secret::IdentityToken(refresh_token)) => {
                let scope = wanted.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                let mut form = Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("client_id", "imgforge");
                form.append_pair("service", service.unwrap_or(registry));
                form.append_pair("scope", &scope);
                form.append_pair("refresh_token", refresh_token);
                let body = form.finish();
                http.send_any(|client| {
                    client
                        .post(realm.clone())
                        .timeout(http.stall())
                        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                        .body(body.clone())
                })
            }
            other => {
                let mut url = realm.clone();
                {
                    let mut query = url.query_pairs_mut();
                    query.extend_pairs(service.map(|service| ("service", service)));
                    query.extend_pairs(wanted.iter().map(|scope| ("scope", scope)));
                }
                let header = match other {
                    Some(Secret::Password { user, password }) => Some(basic(user, password)),
                    _ => None,
                };
                http.send_any(|client| {
                    let request = client.get(url.clone()).timeout(http.stall());
                    match &header {
                        Some(header) => request.header(AUTHORIZATION, header.clone()),
                        None => request,
                    }
                })
            }
        };
        let answer = answer.map_err(Refusal::Transport)?;
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                let errors = parse_api_errors(&read_limited(answer));
                Err(Refusal::Denied { user: login.secret.as_ref().map(Secret::user), errors, problem: login.problem })
            }
            status if status.is_success() => parse_token(&read_limited(answer)),
            _ => Err(Refusal::Transport(http::status_error("GET", answer))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A realm gets the user's password, so an encrypted registry must not send it over an unencrypted connection.
fn check_realm(realm: &str, endpoint: &Endpoint) -> Result<Url, Refusal> {
    match Url::parse(realm) {
        Ok(url) if url.scheme() == "https" || (url.scheme() == "http" && !endpoint.is_encrypted()) => Ok(url),
        Ok(_) => Err(Refusal::Protocol(format!("its token service `{realm}` is not encrypted"))),
        Err(_) => Err(Refusal::Protocol(format!("its token service `{realm}` is no address"))),
    }
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    secret_header(&format!("Basic {encoded}")).unwrap_or_else(|| HeaderValue::from_static(""))
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn parse_token(body: &[u8]) -> Result<Token, Refusal> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<f64>,
    }
    let problem = |text: &str| Refusal::Protocol(format!("its token service {text}"));
    let answer: Answer = serde_json::from_slice(body).map_err(|_| problem("gave no JSON"))?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| problem("gave no token"))?;
    let header =
        secret_header(&format!("Bearer {token}")).ok_or_else(|| problem("gave a token that no header can hold"))?;
    let life = match answer.expires_in {
        Some(seconds) if seconds.is_finite() && seconds > 0.0 => Duration::from_secs_f64(seconds.min(86_400.0)),
        _ => DEFAULT_LIFE,
    };
    Ok(Token { header, expires: Instant::now() + life.saturating_sub(MARGIN) })
}

fn read_limited(answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    // What could be read of a body that breaks off is judged like any other body.
    let _ = answer.take(TOKEN_LIMIT).read_to_end(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(body: &str) -> u64 {
        let token = parse_token(body.as_bytes()).expect("a token");
        (token.expires - Instant::now()).as_secs_f64().round() as u64
    }

    #[test]
    fn tokens_live_as_long_as_their_service_says() {
        assert_eq!(life(r#"{"token":"t","expires_in":300}"#), 295);
        assert_eq!(life(r#"{"access_token":"t"}"#), 55);
        assert_eq!(life(r#"{"access_token":"t","expires_in":1}"#), 0);
        assert_eq!(life(r#"{"token":"t","expires_in":1e300}"#), 86_395);
    }

    #[test]
    fn answers_without_a_usable_token_are_named() {
        for (body, expected) in [
            ("", "its token service gave no JSON"),
            ("{}", "its token service gave no token"),
            (r#"{"token":"a\nb"}"#, "its token service gave a token that no header can hold"),
        ] {
            match parse_token(body.as_bytes()) {
                Err(Refusal::Protocol(problem)) => assert_eq!(problem, expected),
                _ => panic!("{body} was accepted"),
            }
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", basic("ann", "secret")), "Sensitive");
    }
}
