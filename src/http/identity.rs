//! A client's own certificate with its key, for servers that know their users by one.

use std::fmt;
use std::path::{Path, PathBuf};

use pkcs8::der::pem::LineEnding;
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};

use super::{Error, innermost};

/// Where a client's certificate and key are, PEM files.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate, with those between it and its authority if there are any.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What opens the key if it is encrypted.
    pub password: Option<KeyPassword>,
}

/// The password of a key. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPassword(pub String);

impl fmt::Debug for KeyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPassword(hidden)")
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// There is none in the file.
    #[error("it holds no PEM private key")]
    NoKey,
    /// It is encrypted, and there is no password.
    #[error("it is encrypted, and no password is set")]
    Encrypted,
    /// The password is another one.
    #[error("the password does not open it")]
    WrongPassword,
    /// It is encrypted in a way that is not known here.
    #[error("its encryption is not supported{0}")]
    Unsupported(&'static str),
}

impl KeyProblem {
    /// What helps.
    pub(super) fn help(&self, path: &Path) -> Vec<String> {
        match self {
            Self::Encrypted => vec!["put its password into `IMGFORGE_CLIENT_KEY_PASSWORD`".to_owned()],
            Self::WrongPassword => vec!["check `IMGFORGE_CLIENT_KEY_PASSWORD`".to_owned()],
            Self::Unsupported(_) => {
                vec![format!("encrypt it anew: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {} -out NEW`", path.display())]
            }
            Self::Unreadable(_) | Self::NoKey => Vec::new(),
        }
    }
}

impl ClientCertificate {
    /// Reads both, and opens the key.
    pub(super) fn read(&self) -> Result<reqwest::Identity, Error> {
        let failed = |cause: String| Error::Certificate { path: self.certificate.clone(), cause };
        let certificate = std::fs::read(&self.certificate).map_err(|error| failed(error.to_string()))?;
        let found = reqwest::Certificate::from_pem_bundle(&certificate).map_err(|error| failed(innermost(&error)))?;
        if found.is_empty() {
            return Err(failed("it holds no PEM certificate".to_owned()));
        }
        let problem = |problem| Error::Key { path: self.key.clone(), problem };
        let key =
            std::fs::read_to_string(&self.key).map_err(|error| problem(KeyProblem::Unreadable(error.to_string())))?;
        let key = open(&key, self.password.as_ref()).map_err(problem)?;
        // Certificates that lie with the key are not the client's.
        let pem = [certificate.as_slice(), b"\n", key.as_bytes()].concat();
        reqwest::Identity::from_pem(&pem).map_err(|error| failed(innermost(&error)))
    }
}

/// The first private key of a PEM text, as PEM that is not encrypted.
fn open(text: &str, password: Option<&KeyPassword>) -> Result<String, KeyProblem> {
    let start = text.find("-----BEGIN").and_then(|_| {
        let mut labels = text.match_indices("-----BEGIN ");
        labels.find(|(at, _)| text[*at..].lines().next().is_some_and(|line| line.ends_with("PRIVATE KEY-----")))
    });
    let (start, _) = start.ok_or(KeyProblem::NoKey)?;
    let rest = &text[start..];
    let end = rest.find("-----END ").ok_or(KeyProblem::NoKey)?;
    let end = end + rest[end..].find('\n').unwrap_or(rest.len() - end);
    let section = &rest[..end];
    if section.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyProblem::Unsupported(" (it is the form of OpenSSL before version 1)"));
    }
    if !section.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Ok(section.to_owned());
    }
    let KeyPassword(password) = password.ok_or(KeyProblem::Encrypted)?;
    let damaged = || KeyProblem::Unreadable("it is damaged".to_owned());
    let (_, document) = SecretDocument::from_pem(section).map_err(|_| damaged())?;
    let encrypted = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| damaged())?;
    let key = encrypted.decrypt(password).map_err(|error| match error {
        // Either is what comes out of padding that is not right.
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed | pkcs8::pkcs5::Error::EncryptFailed) => {
            KeyProblem::WrongPassword
        }
        pkcs8::Error::EncryptedPrivateKey(_) => KeyProblem::Unsupported(""),
        // Padding may come out right by chance, and a key never.
        _ => KeyProblem::WrongPassword,
    })?;
    let pem = key.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| KeyProblem::WrongPassword)?;
    Ok((*pem).clone())
}
