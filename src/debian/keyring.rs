//! Keys an archive may be signed with, and the check of a clear-signed `InRelease` against them.
//!
//! Only pinned keys count, never a web of trust. One good signature is enough, as for apt: a release is signed by the keys
//! of several Debian releases at once. Refused: hashes weaker than SHA-256, expired keys and signatures, signatures from
//! the future, subkeys that their primary key does not vouch for.

use pgp::composed::{CleartextSignedMessage, Deserializable as _, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{Duration, KeyDetails as _, Timestamp, VerifyingKey};

/// Difference between this machine's clock and the signer's that is put up with, seconds.
pub(super) const CLOCK_SKEW: u64 = 3600;

macro_rules! embedded_keys {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../catalog/keys/", $name, ".asc")))),+]
    };
}

const ARCHIVE_KEYS: [(&str, &str); 6] = embedded_keys!(
    "debian-archive-bullseye-automatic",
    "debian-archive-bullseye-stable",
    "debian-archive-bookworm-automatic",
    "debian-archive-bookworm-stable",
    "debian-archive-trixie-automatic",
    "debian-archive-trixie-stable",
);
const SECURITY_KEYS: [(&str, &str); 3] = embedded_keys!(
    "debian-archive-bullseye-security-automatic",
    "debian-archive-bookworm-security-automatic",
    "debian-archive-trixie-security-automatic",
);
/// The archive's key since 2018.
const UBUNTU_KEYS: [(&str, &str); 1] = embedded_keys!("ubuntu-archive-2018");

/// The keys pinned for one archive.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

/// Why a message is not taken for the archive's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// A file that holds no usable key.
    #[error("no OpenPGP public key in {what}: {cause}")]
    NoKey {
        /// Which keys.
        what: String,
        /// What the parser says.
        cause: String,
    },
    /// Not a clear-signed message.
    #[error("it is not a clear-signed message: {cause}")]
    Malformed {
        /// What the parser says.
        cause: String,
    },
    /// No signature holds.
    #[error("no signature by a key of this archive ({})", reasons.join("; "))]
    NotSigned {
        /// One reason per signature.
        reasons: Vec<String>,
    },
}

impl Keyring {
    /// The keys of an archive of Debian or Ubuntu; `None` for another one.
    pub fn embedded(archive: &str) -> Option<Result<Self, KeyringError>> {
        let keys: &[_] = match archive {
            "debian" => &ARCHIVE_KEYS,
            "debian-security" => &SECURITY_KEYS,
            "ubuntu" | "ubuntu-ports" => &UBUNTU_KEYS,
            _ => return None,
        };
        let mut keyring = Self::default();
        for (name, armored) in keys {
            if let Err(error) = keyring.add(name, armored) {
                return Some(Err(error));
            }
        }
        Some(Ok(keyring))
    }

    /// Adds the keys of an ASCII-armored text. `what` names it in errors.
    pub fn add(&mut self, what: &str, armored: &str) -> Result<(), KeyringError> {
        let failed = |cause: String| KeyringError::NoKey { what: what.to_owned(), cause };
        let (keys, _) = SignedPublicKey::from_string_many(armored).map_err(|error| failed(error.to_string()))?;
        let before = self.keys.len();
        for key in keys {
            self.keys.push(key.map_err(|error| failed(error.to_string()))?);
        }
        match self.keys.len() > before {
            true => Ok(()),
            false => Err(failed("it is empty".to_owned())),
        }
    }

    /// Fingerprints of the primary keys, upper-case hexadecimal.
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(|key| format!("{:X}", key.fingerprint())).collect()
    }

    /// The signed text of a clear-signed message, if a pinned key signed it. `now`: seconds since 1970.
    pub(super) fn verify(&self, message: &[u8], now: u64) -> Result<String, KeyringError> {
        let malformed = |cause: String| KeyringError::Malformed { cause };
        let (text, rest) = split(message).map_err(|cause| malformed(cause.to_owned()))?;
        let (message, _) = CleartextSignedMessage::from_string(&rest).map_err(|error| malformed(error.to_string()))?;
        if !message.signed_text().is_empty() {
            return Err(malformed("it has more than one text".to_owned()));
        }
        let mut reasons = Vec::new();
        for signature in message.signatures() {
            match self.check(signature, text.as_bytes(), now) {
                Ok(()) => return Ok(text),
                Err(reason) => reasons.push(reason),
            }
        }
        if reasons.is_empty() {
            reasons.push("it carries no signature".to_owned());
        }
        Err(KeyringError::NotSigned { reasons })
    }

    fn check(&self, signature: &Signature, text: &[u8], now: u64) -> Result<(), String> {
        let issuer = signature
            .issuer_fingerprint()
            .first()
            .map(|fingerprint| format!("{fingerprint:X}"))
            .or_else(|| signature.issuer_key_id().first().map(ToString::to_string))
            .unwrap_or_else(|| "an unnamed key".to_owned());
        if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
            return Err(format!("{issuer}: not a signature of a text"));
        }
        match signature.hash_alg() {
            Some(
                HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512,
            ) => {}
            other => return Err(format!("{issuer}: weak hash {other:?}")),
        }
        let created = signature.created().ok_or_else(|| format!("{issuer}: no time of signing"))?;
        if seconds(created) > now + CLOCK_SKEW {
            return Err(format!("{issuer}: signed in the future by this machine's clock"));
        }
        if is_over(created, signature.signature_expiration_time(), now) {
            return Err(format!("{issuer}: the signature has expired"));
        }
        let mut reason = format!("{issuer}: not a key of this archive");
        for key in &self.keys {
            match verify_with(key, signature, text, now) {
                Some(Ok(())) => return Ok(()),
                Some(Err(cause)) => reason = format!("{issuer}: {cause}"),
                None => {}
            }
        }
        Err(reason)
    }
}

/// The text of a clear-signed message, in the form that is signed, and the message without it: the parser's time grows by the
/// square of the text's length. Nothing hangs on where this cuts, since only the text that a signature holds for is believed.
/// Source: RFC 9580, section 7.
fn split(message: &[u8]) -> Result<(String, String), &'static str> {
    let message = std::str::from_utf8(message).map_err(|_| "it is not UTF-8")?.replace("\r\n", "\n");
    // Alone it would be signed as the end of a line, and read as none.
    if message.contains('\r') {
        return Err("it has a carriage return inside a line");
    }
    let (head, rest) = message.split_once("\n\n").ok_or("it has no text")?;
    let end = if rest.starts_with("-----") { Some(0) } else { rest.find("\n-----").map(|end| end + 1) };
    let (text, signatures) = rest.split_at(end.ok_or("it has no signature")?);
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    let lines = lines.map(|line| line.strip_prefix("- ").unwrap_or(line).trim_end_matches([' ', '\t']));
    Ok((lines.collect::<Vec<_>>().join("\r\n"), format!("{head}\n\n{signatures}")))
}

/// Checks a signature by `certificate`'s primary key or one of its signing subkeys; `None` if neither made it.
fn verify_with(
    certificate: &SignedPublicKey,
    signature: &Signature,
    text: &[u8],
    now: u64,
) -> Option<Result<(), &'static str>> {
    let primary_lifetime = certificate
        .details
        .users
        .iter()
        .flat_map(|user| &user.signatures)
        .chain(&certificate.details.direct_signatures)
        .max_by_key(|signature| signature.created().map(seconds))
        .and_then(Signature::key_expiration_time);
    let primary_is_over = !certificate.details.revocation_signatures.is_empty()
        || is_over(certificate.primary_key.created_at(), primary_lifetime, now);
    let by_subkey = certificate.public_subkeys.iter().any(|subkey| is_issuer(&subkey.key, signature));
    if !by_subkey && !is_issuer(&certificate.primary_key, signature) {
        return None;
    }
    // Only of the key that counts: checking all of them would take longer than everything else.
    if certificate.verify_bindings().is_err() {
        return Some(Err("the key's own signatures do not hold"));
    }
    if is_issuer(&certificate.primary_key, signature) {
        return Some(outcome(&certificate.primary_key, signature, text, primary_is_over));
    }
    for subkey in &certificate.public_subkeys {
        if !is_issuer(&subkey.key, signature) {
            continue;
        }
        let newest = subkey.signatures.iter().max_by_key(|signature| signature.created().map(seconds));
        let revoked =
            subkey.signatures.iter().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
        let lifetime = newest.and_then(Signature::key_expiration_time);
        let is_over = primary_is_over || revoked || is_over(subkey.key.created_at(), lifetime, now);
        if !newest.is_some_and(|binding| binding.key_flags().sign()) {
            return Some(Err("the subkey may not sign"));
        }
        return Some(outcome(&subkey.key, signature, text, is_over));
    }
    None
}

fn outcome(key: &impl VerifyingKey, signature: &Signature, text: &[u8], is_over: bool) -> Result<(), &'static str> {
    if is_over {
        return Err("the key has expired or was revoked");
    }
    signature.verify(key, text).map_err(|_| "the signature does not fit the text")
}

fn is_issuer(key: &impl VerifyingKey, signature: &Signature) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    match fingerprints.is_empty() {
        true => signature.issuer_key_id().contains(&&key.legacy_key_id()),
        false => fingerprints.contains(&&key.fingerprint()),
    }
}

fn seconds(time: Timestamp) -> u64 {
    u64::from(time.as_secs())
}

/// Whether a lifetime that began at `start` has ended; none, or zero, means that it never does.
fn is_over(start: Timestamp, lifetime: Option<Duration>, now: u64) -> bool {
    lifetime
        .map(|lifetime| u64::from(lifetime.as_secs()))
        .is_some_and(|lifetime| lifetime != 0 && now > seconds(start) + lifetime)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, sign, sign_with, test_keyring};
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    #[test]
    fn embedded_keys_are_those_of_the_readme() {
        let readme = include_str!("../../catalog/keys/README.md");
        let mut count = 0;
        for archive in ["debian", "debian-security", "ubuntu"] {
            let keyring = Keyring::embedded(archive).expect("pinned").expect("readable");
            for key in &keyring.keys {
                key.verify_bindings().expect("vouched for by itself");
            }
            for fingerprint in keyring.fingerprints() {
                assert!(readme.contains(&format!("| {fingerprint} | `{archive}`")), "{fingerprint}");
                count += 1;
            }
        }
        assert_eq!(count, 10);
        assert!(Keyring::embedded("elsewhere").is_none());
    }

    #[test]
    fn takes_a_text_that_a_pinned_key_signed() {
        let message = sign("Suite: stable\n- dashed\nCodename: trixie\n");
        assert_eq!(
            test_keyring().verify(message.as_bytes(), NOW),
            Ok("Suite: stable\r\n- dashed\r\nCodename: trixie\r\n".to_owned())
        );
    }

    #[test]
    fn a_text_is_cut_out_as_the_parser_cuts_it() {
        let lines = (0..2000).map(|number| format!(" {number:064x} {number} main/binary-amd64/Packages\n"));
        let long: String = lines.collect();
        let texts = ["", "a", "a\n", "\n", "\n\na\n\n", "- a\n-b\n-----c\n- -----d\n", "é \t\n \n\ta\t", &long];
        for text in texts {
            let message = sign(text);
            let expected = CleartextSignedMessage::from_string(&message).expect("well-formed").0.signed_text();
            for message in [message.replace('\n', "\r\n"), message] {
                assert_eq!(split(message.as_bytes()).map(|(text, _)| text).as_ref(), Ok(&expected), "{text:?}");
            }
        }
        for text in ["", "- a\n-b\n-----c\n- -----d\n", &long] {
            let signed = text.replace('\n', "\r\n");
            assert_eq!(test_keyring().verify(sign(text).as_bytes(), NOW).as_ref(), Ok(&signed), "{text:?}");
        }
    }

    #[test]
    fn a_message_is_one_text_and_one_line_end_ends_a_line() {
        let message = sign("Suite: stable\nCodename: trixie\n");
        let malformed = |message: &str| match test_keyring().verify(message.as_bytes(), NOW) {
            Err(KeyringError::Malformed { cause }) => cause,
            other => panic!("{other:?}"),
        };
        let joined = message.replace("stable\n", "stable\r");
        assert_eq!(malformed(&joined), "it has a carriage return inside a line");
        // A text that its signature does not cover, in front and behind.
        malformed(&format!("{message}{message}"));
        malformed(&format!("{message}Suite: other\n"));
        malformed(&format!("Suite: other\n\n{message}"));
        malformed(&message.replacen("Hash: SHA256", "Hash: SHA256\nSuite: other", 1));
        let (text, signatures) = message.split_once("\n-----BEGIN PGP SIGNATURE").expect("both");
        malformed(text);
        malformed(&format!(
            "{text}\n-----BEGIN PGP SIGNED MESSAGE-----\n\n{text}\n-----BEGIN PGP SIGNATURE{signatures}"
        ));
    }

    #[test]
    fn refuses_what_is_forged_weak_or_foreign() {
        let message = sign("Suite: stable\n");
        let refused = |message: &str, now: u64, keyring: &Keyring| match keyring.verify(message.as_bytes(), now) {
            Err(KeyringError::NotSigned { reasons }) => reasons.join("; "),
            other => panic!("{other:?}"),
        };
        let keyring = test_keyring();
        assert!(refused(&message.replace("stable", "static"), NOW, &keyring).ends_with("does not fit the text"));
        let foreign = Keyring::embedded("debian").expect("pinned").expect("readable");
        assert!(refused(&message, NOW, &foreign).ends_with("not a key of this archive"));
        assert!(refused(&message, 1_700_000_000, &keyring).ends_with("signed in the future by this machine's clock"));
        let weak = sign_with("Suite: stable\n", HashAlgorithm::Sha1);
        assert!(refused(&weak, NOW, &keyring).ends_with("weak hash Some(Sha1)"));
        assert!(matches!(keyring.verify(b"Suite: stable\n", NOW), Err(KeyringError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn a_changed_message_is_never_taken_for_another_text(at in 0usize..600, byte: u8) {
            static ORIGINAL: LazyLock<(String, Keyring)> =
                LazyLock::new(|| (sign("Suite: stable\nCodename: trixie\n"), test_keyring()));
            let (original, keyring) = &*ORIGINAL;
            let mut bytes = original.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(text) = keyring.verify(&bytes, NOW) {
                prop_assert_eq!(text, "Suite: stable\r\nCodename: trixie\r\n");
            }
        }
    }
}
