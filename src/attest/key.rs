//! Keys: ECDSA on the curve P-256 with SHA-256, as `openssl` and `cosign` make them.
//!
//! Signatures are deterministic (RFC 6979), so that the same image signed by the same key has the same signature.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
};

use super::encrypted;
use crate::diagnostic::Hint;
use crate::oci::Digest;

/// Longest key file that is read.
const FILE_LIMIT: u64 = 64 << 10;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no key of a kind that is known.
    #[error("`{path}` holds no {wanted}: {problem}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What is there instead.
        problem: String,
    },
    /// The key is encrypted and there is no password.
    #[error("the key `{path}` is encrypted, and `COSIGN_PASSWORD` is not set")]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// The key is encrypted with another password.
    #[error("the password in `COSIGN_PASSWORD` does not open the key `{path}`")]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
}

impl Hint for KeyError {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Unreadable { wanted: PRIVATE, .. } => vec![
                "make one with `imgforge keys generate`, or with `openssl ecparam -name prime256v1 -genkey -noout -out sign.key`"
                    .to_owned(),
            ],
            Self::Unreadable { .. } => vec![
                "it is the `.pub` file beside the private key; `openssl ec -in sign.key -pubout -out sign.pub` makes it"
                    .to_owned(),
            ],
            _ => Vec::new(),
        }
    }
}

const PRIVATE: &str = "private key";
const PUBLIC: &str = "public key";

/// A key that signs.
pub struct SigningKey(p256::ecdsa::SigningKey);

/// A key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl SigningKey {
    /// Reads a private key in PEM: PKCS #8 or SEC 1, or encrypted in cosign's own way, for which `password` is asked.
    pub fn read(path: &Path, password: impl FnOnce() -> Option<String>) -> Result<Self, KeyError> {
        let text = read_file(path)?;
        Self::parse(&text, password).map_err(|problem| problem.at(path))
    }

    fn parse(text: &str, password: impl FnOnce() -> Option<String>) -> Result<Self, Problem> {
        let labels: Vec<&str> = labels(text).collect();
        let secret = if let Some(block) = block(text, "PRIVATE KEY") {
            p256::SecretKey::from_pkcs8_pem(block).map_err(|_| Problem::other_curve())?
        } else if let Some(block) = block(text, "EC PRIVATE KEY") {
            p256::SecretKey::from_sec1_pem(block).map_err(|_| Problem::other_curve())?
        } else if let Some((label, block)) =
            encrypted::LABELS.iter().find_map(|label| Some((*label, block(text, label)?)))
        {
            let password = password().ok_or(Problem::NoPassword)?;
            let opened = encrypted::open(block, label, password.as_bytes())?;
            p256::SecretKey::from_pkcs8_der(&opened).map_err(|_| Problem::other_curve())?
        } else if labels.contains(&"ENCRYPTED PRIVATE KEY") {
            return Err(Problem::Other(
                "it is encrypted in a way that is not read here (`openssl pkcs8 -topk8 -nocrypt` takes that off)"
                    .to_owned(),
            ));
        } else {
            return Err(Problem::Other(describe(&labels)));
        };
        Ok(Self(secret.into()))
    }

    /// A new key.
    pub fn generate() -> io::Result<Self> {
        loop {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            // One number in four thousand million is no key.
            if let Ok(secret) = p256::SecretKey::from_slice(&bytes) {
                return Ok(Self(secret.into()));
            }
        }
    }

    /// PEM, encrypted with a password in cosign's own way; an empty password is one too.
    pub fn to_encrypted_pem(&self, password: &str) -> io::Result<String> {
        let der = p256::SecretKey::from(&self.0).to_pkcs8_der().map_err(io::Error::other)?;
        encrypted::seal(der.as_bytes(), password.as_bytes())
    }

    /// The signature over a message, in the form of ASN.1 that everybody exchanges.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(message);
        signature.to_der().as_bytes().to_vec()
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public().hint()).finish()
    }
}

impl PublicKey {
    /// Reads a public key in PEM.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::parse(&read_file(path)?).map_err(|problem| problem.at_public(path))
    }

    /// A public key from PEM; none if it is not one of the kind that is known.
    pub fn from_pem(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let labels: Vec<&str> = labels(text).collect();
        let block = block(text, "PUBLIC KEY").ok_or_else(|| Problem::Other(describe(&labels)))?;
        VerifyingKey::from_public_key_pem(block).map(Self).map_err(|_| Problem::other_curve())
    }

    /// PEM.
    pub fn to_pem(&self) -> io::Result<String> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(io::Error::other)
    }

    /// Whether the signature over a message is this key's. Anything that is no signature is not.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }

    /// How signatures name the key: base64 of the sha256 of its DER form, as cosign does.
    pub fn hint(&self) -> String {
        let der = self.0.to_public_key_der();
        der.map(|der| STANDARD.encode(Digest::of(der.as_bytes()).as_bytes())).unwrap_or_default()
    }
}

/// What is wrong with a key's text; the file's name comes later.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NoPassword,
    WrongPassword,
    Other(String),
}

impl Problem {
    fn other_curve() -> Self {
        Self::Other("it is damaged, or not of the curve P-256 (prime256v1)".to_owned())
    }

    fn at(self, path: &Path) -> KeyError {
        let path = path.to_owned();
        match self {
            Self::NoPassword => KeyError::NoPassword { path },
            Self::WrongPassword => KeyError::WrongPassword { path },
            Self::Other(problem) => KeyError::Unreadable { path, wanted: PRIVATE, problem },
        }
    }

    fn at_public(self, path: &Path) -> KeyError {
        match self.at(path) {
            KeyError::Unreadable { path, problem, .. } => KeyError::Unreadable { path, wanted: PUBLIC, problem },
            error => error,
        }
    }
}

fn read_file(path: &Path) -> Result<String, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > FILE_LIMIT {
        let problem = format!("a file of {size} bytes is no key");
        return Err(KeyError::Unreadable { path: path.to_owned(), wanted: "key", problem });
    }
    Ok(String::from_utf8_lossy(&std::fs::read(path).map_err(failed)?).into_owned())
}

/// The PEM block of a label, with its first and last line. Files may hold others, such as the curve's parameters.
fn block<'t>(text: &'t str, label: &str) -> Option<&'t str> {
    let (first, last) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let start = text.find(&first)?;
    let end = start + text[start..].find(&last)? + last.len();
    Some(&text[start..end])
}

fn labels(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
}

fn describe(labels: &[&str]) -> String {
    match labels {
        [] => "there is no PEM block in it".to_owned(),
        labels => {
            let named: Vec<String> =
                labels.iter().take(3).map(|label| format!("`{}`", super::statement::shorten(label))).collect();
            format!("it holds {}", named.join(", "))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const RSA: &str = "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n";

    fn secret() -> p256::SecretKey {
        p256::SecretKey::from_slice(&[5; 32]).expect("a key")
    }

    /// As `openssl ecparam -name prime256v1 -genkey` writes a key.
    fn sec1() -> String {
        let key = secret().to_sec1_pem(LineEnding::LF).expect("PEM");
        format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}", key.as_str())
    }

    fn pkcs8() -> String {
        secret().to_pkcs8_pem(LineEnding::LF).expect("PEM").as_str().to_owned()
    }

    fn public() -> String {
        secret().public_key().to_public_key_pem(LineEnding::LF).expect("PEM")
    }

    /// A key that says it is of another curve.
    fn other_curve() -> String {
        let mut der = secret().to_pkcs8_der().expect("DER").as_bytes().to_vec();
        let prime256v1 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let at = der.windows(8).position(|window| window == prime256v1).expect("the curve's name");
        der[at + 7] = 0x06;
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
    }

    /// A key of the tests.
    pub(in super::super) fn key() -> SigningKey {
        SigningKey(secret().into())
    }

    /// Another one.
    pub(in super::super) fn other_key() -> SigningKey {
        SigningKey(p256::SecretKey::from_slice(&[7; 32]).expect("a key").into())
    }

    #[test]
    fn every_form_of_a_key_is_the_same_key() {
        assert_eq!(SigningKey::parse(&sec1(), || None).expect("a key").public(), key().public());
        let pkcs8 = SigningKey::parse(&pkcs8(), || None).expect("a key");
        assert_eq!(pkcs8.public(), key().public());
        assert_eq!(PublicKey::parse(&public()).expect("a key"), key().public());
        assert_eq!(pkcs8.sign(b"message"), key().sign(b"message"));
    }

    #[test]
    fn a_new_key_comes_back_with_its_password() {
        let (one, two) = (SigningKey::generate().expect("a key"), SigningKey::generate().expect("a key"));
        assert_ne!(one.public(), two.public());
        let text = one.to_encrypted_pem("secret").expect("PEM");
        let read = |password: Option<&str>| SigningKey::parse(&text, || password.map(str::to_owned));
        assert_eq!(read(Some("secret")).expect("a key").public(), one.public());
        assert_eq!(read(Some("other")).expect_err("another password"), Problem::WrongPassword);
        assert_eq!(read(None).expect_err("no password"), Problem::NoPassword);
        assert_eq!(PublicKey::parse(&one.public().to_pem().expect("PEM")).expect("a key"), one.public());
    }

    #[test]
    fn only_the_keys_own_signature_over_the_message_counts() {
        let signature = key().sign(b"message");
        assert!(key().public().has_signed(b"message", &signature));
        assert!(!key().public().has_signed(b"massage", &signature));
        assert!(!other_key().public().has_signed(b"message", &signature));
        for wrong in [&b""[..], b"x", &signature[1..], &[0; 72]] {
            assert!(!key().public().has_signed(b"message", wrong));
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        let problem = |text: &str| SigningKey::parse(text, || None).expect_err(text);
        let other = |text: &str| Problem::Other(text.to_owned());
        assert_eq!(problem("hello"), other("there is no PEM block in it"));
        assert_eq!(problem(RSA), other("it holds `RSA PRIVATE KEY`"));
        assert_eq!(problem(&other_curve()), Problem::other_curve());
        assert_eq!(problem(&public()), other("it holds `PUBLIC KEY`"));
        assert_eq!(PublicKey::parse(&pkcs8()).expect_err("private"), other("it holds `PRIVATE KEY`"));
        assert!(PublicKey::parse("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").is_err());
        assert!(!format!("{:?}", key()).contains("SecretKey"));
    }
}
