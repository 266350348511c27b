//! Questions to a registry: one exchange with authorisation and retries, manifests, and whether something exists.

use std::io::Read as _;

use reqwest::blocking::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::{Refusal, Scopes};
use super::error::parse_api_errors;
use super::{Endpoint, Error, MANIFEST_LIMIT, Registries};
use crate::http;
use crate::oci::{Architecture, Digest, ImageIndex, Platform, Reference};

const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// Media types of an index, OCI's and Docker's.
const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Indexes inside indexes that are followed.
const INDEX_DEPTH: usize = 3;
/// Bytes of an error body that are read.
const ERROR_LIMIT: u64 = 64 << 10;

const READ: &str = "read the manifest of";
const WRITE: &str = "write the manifest of";

/// A manifest or an index, as the registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Address of `bytes`, verified.
    pub digest: Digest,
    /// What the document says it is, else what the registry says.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Vec<u8>,
}

impl Manifest {
    /// Whether it is an index over platforms.
    pub fn is_index(&self) -> bool {
        INDEX_TYPES.contains(&self.media_type.as_str())
    }
}

/// What a registry says to a manifest it took.
pub(super) struct WrittenManifest {
    pub(super) digest: Digest,
    /// It has noted the manifest's subject.
    pub(super) keeps_referrers: bool,
}

/// One request without a long body.
pub(super) struct Question<'a> {
    pub(super) operation: &'static str,
    pub(super) endpoint: &'a Endpoint,
    pub(super) scopes: &'a Scopes,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<&'a [u8]>,
}

impl Registries {
    /// The manifest or index behind a reference. With a digest in the reference, exactly those bytes; the tag is then only a
    /// comment.
    pub fn manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        self.first_answer(reference, |endpoint| self.manifest_at(endpoint, reference))
    }

    /// [`Registries::manifest`] from the registry itself, past its mirrors, which may be behind.
    pub fn manifest_at_home(&self, reference: &Reference) -> Result<Manifest, Error> {
        self.manifest_at(&self.home(reference)?, reference)
    }

    /// The manifest for one platform: of the reference itself, or of what its index names for the platform. A manifest
    /// that is no index is returned as it is, because only its config tells the platform.
    pub fn resolve_platform(&self, reference: &Reference, platform: Platform) -> Result<Manifest, Error> {
        let mut manifest = self.manifest(reference)?;
        for _ in 0..INDEX_DEPTH {
            if !manifest.is_index() {
                return Ok(manifest);
            }
            let digest = choose(&manifest, reference, platform)?;
            manifest = self.manifest(&reference.clone_with_digest(digest.to_string()))?;
        }
        Err(protocol(READ, reference, format!("its indexes are nested more than {INDEX_DEPTH} deep")))
    }

    /// The address behind a tag without reading the manifest; `None` if there is no such tag. Asks the registry itself.
    pub fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, Error> {
        let endpoint = self.home(reference)?;
        let answer = self.ask_for_manifest(&endpoint, reference, Method::HEAD)?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() && status != StatusCode::METHOD_NOT_ALLOWED {
            return Err(self.answer_error(READ, &endpoint, answer));
        }
        if let Some(digest) = announced_digest(answer.headers()).filter(|_| status.is_success()) {
            return Ok(Some(digest));
        }
        // A registry that does not answer HEAD, or not with the digest, says nothing about the tag.
        match self.manifest_at(&endpoint, reference) {
            Ok(manifest) => Ok(Some(manifest.digest)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the registry itself has the blob. Registries that do not answer HEAD count as not having it.
    pub fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool, Error> {
        let endpoint = self.home(reference)?;
        self.has_blob_at(&endpoint, &Scopes::pull(&endpoint.repository), digest)
    }

    /// Writes a manifest under the reference's tag, or its digest if it has one. Everything it names must be there.
    pub fn push_manifest(&self, reference: &Reference, media_type: &str, bytes: &[u8]) -> Result<Digest, Error> {
        self.put_manifest(reference, media_type, bytes).map(|written| written.digest)
    }

    pub(super) fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<WrittenManifest, Error> {
        let endpoint = self.home(reference)?;
        let digest = Digest::of(bytes);
        let content_type = HeaderValue::from_str(media_type)
            .map_err(|_| protocol(WRITE, reference, format!("`{media_type}` is no media type")))?;
        let question = Question {
            operation: WRITE,
            endpoint: &endpoint,
            scopes: &Scopes::push(&endpoint.repository),
            method: Method::PUT,
            url: endpoint.url(WRITE, &format!("manifests/{}", name_of(reference)))?,
            headers: vec![(CONTENT_TYPE, content_type)],
            body: Some(bytes),
        };
        let mut answer = self.ask(&question)?;
        if !answer.status().is_success() {
            let error = self.answer_error(WRITE, &endpoint, answer);
            // Registries with blobs in one place and manifests in another may see a blob a moment after they took it.
            if !error.lacks_a_blob() {
                return Err(error);
            }
            std::thread::sleep(http::backoff(2));
            answer = self.ask(&question)?;
        }
        if !answer.status().is_success() {
            return Err(self.answer_error(WRITE, &endpoint, answer));
        }
        match announced_digest(answer.headers()) {
            Some(found) if found != digest => Err(endpoint.wrong_digest("manifest", digest, found)),
            _ => Ok(WrittenManifest { digest, keeps_referrers: answer.headers().contains_key("oci-subject") }),
        }
    }

    pub(super) fn has_blob_at(&self, endpoint: &Endpoint, scopes: &Scopes, digest: &Digest) -> Result<bool, Error> {
        let operation = "look for a blob in";
        let url = endpoint.url(operation, &format!("blobs/{digest}"))?;
        let question =
            Question { operation, endpoint, scopes, method: Method::HEAD, url, headers: Vec::new(), body: None };
        let answer = self.ask(&question)?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(false),
            status if status.is_success() => {
                self.shared.known.add(endpoint, digest);
                Ok(true)
            }
            _ => Err(self.answer_error(operation, endpoint, answer)),
        }
    }

    fn ask_for_manifest(&self, endpoint: &Endpoint, reference: &Reference, method: Method) -> Result<Response, Error> {
        self.ask(&Question {
            operation: READ,
            endpoint,
            scopes: &Scopes::pull(&endpoint.repository),
            method,
            url: endpoint.url(READ, &format!("manifests/{}", name_of(reference)))?,
            headers: vec![(ACCEPT, HeaderValue::from_static(MANIFEST_TYPES))],
            body: None,
        })
    }

    pub(super) fn manifest_at(&self, endpoint: &Endpoint, reference: &Reference) -> Result<Manifest, Error> {
        let answer = self.ask_for_manifest(endpoint, reference, Method::GET)?;
        if answer.status() != StatusCode::OK {
            return Err(self.answer_error(READ, endpoint, answer));
        }
        let announced = announced_digest(answer.headers());
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.map(|text| text.split(';').next().unwrap_or(text).trim().to_owned());
        let bytes = read_limited(READ, endpoint, answer, MANIFEST_LIMIT)?;
        let found = Digest::of(&bytes);
        let named = match reference.digest() {
            Some(text) => Some(text.parse::<Digest>().map_err(|cause| endpoint.protocol(READ, cause.to_string()))?),
            None => announced,
        };
        if let Some(expected) = named.filter(|&expected| expected != found) {
            return Err(endpoint.wrong_digest("manifest", expected, found));
        }
        let media_type = media_type_of(&bytes).or(content_type).unwrap_or_default();
        Ok(Manifest { digest: found, media_type, bytes })
    }

    /// One exchange: with the header that should do, again with a new one after a 401, and with the retries of
    /// [`crate::http`]. Returns any status but 401, and no page for people.
    pub(super) fn ask(&self, question: &Question<'_>) -> Result<Response, Error> {
        let Question { operation, endpoint, scopes, .. } = *question;
        let http = self.client_for(operation, endpoint, &question.url)?;
        let mut header = self.authorization(operation, endpoint, scopes, &question.url)?;
        let mut renewed = false;
        loop {
            let answer = http.send_any(|client| {
                let mut request = client.request(question.method.clone(), question.url.clone()).timeout(http.stall());
                for (name, value) in &question.headers {
                    request = request.header(name, value);
                }
                if let Some(header) = &header {
                    request = request.header(AUTHORIZATION, header);
                }
                match question.body {
                    Some(body) => request.body(body.to_vec()),
                    None => request,
                }
            });
            let answer = answer.map_err(|source| transport(operation, endpoint, source))?;
            if is_page(&answer) {
                return Err(endpoint.page(operation));
            }
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            if renewed || !endpoint.owns(&question.url) {
                let errors = parse_api_errors(&read_error_body(answer));
                let refusal = self.shared.auth.denial(&endpoint.registry, errors);
                return Err(refused(operation, endpoint, refusal));
            }
            renewed = true;
            header = Some(self.renew(operation, endpoint, scopes, answer.headers(), header.as_ref())?);
        }
    }

    /// The HTTP client for a URL of this exchange.
    pub(super) fn client_for(
        &self,
        operation: &'static str,
        endpoint: &Endpoint,
        url: &Url,
    ) -> Result<http::Client, Error> {
        self.shared.clients.for_url(url).map_err(|source| transport(operation, endpoint, source))
    }

    /// The header for a URL of this exchange: none for a host that is not the registry's own.
    pub(super) fn authorization(
        &self,
        operation: &'static str,
        endpoint: &Endpoint,
        scopes: &Scopes,
        url: &Url,
    ) -> Result<Option<HeaderValue>, Error> {
        if !endpoint.owns(url) || self.shared.clients.common().is_offline() {
            return Ok(None);
        }
        self.shared.auth.header(endpoint, scopes).map_err(|refusal| refused(operation, endpoint, refusal))
    }

    /// A new header after a 401.
    pub(super) fn renew(
        &self,
        operation: &'static str,
        endpoint: &Endpoint,
        scopes: &Scopes,
        challenge: &HeaderMap,
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Error> {
        self.shared
            .auth
            .renew(endpoint, scopes, challenge, rejected)
            .map_err(|refusal| refused(operation, endpoint, refusal))
    }

    /// An unwelcome answer as an error.
    pub(super) fn answer_error(&self, operation: &'static str, endpoint: &Endpoint, answer: Response) -> Error {
        let status = answer.status();
        let errors = parse_api_errors(&read_error_body(answer));
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return refused(operation, endpoint, self.shared.auth.denial(&endpoint.registry, errors));
        }
        let (registry, repository) = (endpoint.registry.clone(), endpoint.repository.clone());
        Error::Answer { operation, registry, repository, status, errors }
    }
}

/// A failed connection as an error.
pub(super) fn transport(operation: &'static str, endpoint: &Endpoint, source: http::Error) -> Error {
    let (registry, repository) = (endpoint.registry.clone(), endpoint.repository.clone());
    Error::Transport { operation, registry, repository, source }
}

fn refused(operation: &'static str, endpoint: &Endpoint, refusal: Refusal) -> Error {
    let (registry, repository) = (endpoint.registry.clone(), endpoint.repository.clone());
    match refusal {
        Refusal::Denied { user, errors, problem } => {
            Error::Denied { operation, registry, repository, user, errors, credential_problem: problem }
        }
        Refusal::Transport(source) => Error::Transport { operation, registry, repository, source },
        Refusal::Protocol(problem) => Error::Protocol { operation, registry, repository, problem },
    }
}

fn protocol(operation: &'static str, reference: &Reference, problem: String) -> Error {
    let (registry, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
    Error::Protocol { operation, registry, repository, problem }
}

/// The digest an index names for a platform.
fn choose(manifest: &Manifest, reference: &Reference, platform: Platform) -> Result<Digest, Error> {
    let index = ImageIndex::from_reader(manifest.bytes.as_slice())
        .map_err(|cause| protocol(READ, reference, format!("its index cannot be read: {cause}")))?;
    let mut available = Vec::new();
    for descriptor in index.manifests() {
        let Some(offered) = descriptor.platform() else { continue };
        let (os, architecture) = (offered.os().to_string(), offered.architecture().to_string());
        let variant = offered.variant().clone().unwrap_or_default();
        let fits = os == "linux"
            && architecture == platform.architecture_name()
            && match platform.architecture {
                Architecture::Amd64 => matches!(variant.as_str(), "" | "v1"),
                Architecture::Arm64 => matches!(variant.as_str(), "" | "v8"),
            };
        if fits {
            return descriptor
                .digest()
                .to_string()
                .parse()
                .map_err(|cause: crate::oci::DigestError| protocol(READ, reference, cause.to_string()));
        }
        // Attestations are listed as `unknown/unknown`.
        if os != "unknown" {
            let variant = if variant.is_empty() { String::new() } else { format!("/{variant}") };
            available.push(format!("{os}/{architecture}{variant}"));
        }
    }
    Err(Error::NoPlatform { reference: reference.to_string(), platform, available })
}

fn name_of(reference: &Reference) -> &str {
    reference.digest().or(reference.tag()).unwrap_or("latest")
}

/// The digest a registry says it answers with; other algorithms than sha256 are not compared.
pub(super) fn announced_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

/// Whether an answer that claims success is a page for people: what the login of a proxy gives to every address.
pub(super) fn is_page(answer: &Response) -> bool {
    answer.status().is_success() && is_html(answer.headers())
}

/// Whether a body is meant for people.
pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.trim_start().starts_with("text/html"))
}

fn media_type_of(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        media_type: Option<String>,
    }
    serde_json::from_slice::<Document>(bytes).ok()?.media_type.filter(|text| !text.is_empty())
}

/// An answer's body, an error if it has more than `limit` bytes.
pub(super) fn read_limited(
    operation: &'static str,
    endpoint: &Endpoint,
    answer: Response,
    limit: u64,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    answer
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| endpoint.protocol(operation, format!("the answer broke off ({cause})")))?;
    if bytes.len() as u64 > limit {
        return Err(endpoint.protocol(operation, format!("it has more than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}

pub(super) fn read_error_body(answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    // An error body that breaks off still has a beginning worth showing.
    let _ = answer.take(ERROR_LIMIT).read_to_end(&mut body);
    body
}
