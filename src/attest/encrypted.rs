//! Private keys as `cosign generate-key-pair` writes and reads them: PKCS #8 in a box of NaCl (XSalsa20, Poly1305), whose key
//! is made from the password by scrypt. The PEM block holds JSON. Source: `encrypted` of go-securesystemslib, which opens boxes
//! of three costs only.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use serde::{Deserialize, Serialize};

use super::dsse::decode;
use super::key::Problem;

/// What the PEM blocks are called, today's name first.
pub(super) const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// Most memory that a key file may ask for: 128 bytes times cost times block size.
const MEMORY_LIMIT: u64 = 512 << 20;
/// Highest number of runs one after another.
const PARALLELISM_LIMIT: u32 = 16;
/// What a new box costs: the standard one of the three, a tenth of a second.
const STANDARD_COST: Parameters = Parameters { cost: 1 << 16, block_size: 8, parallelism: 1 };
const KDF: &str = "scrypt";
const BOX: &str = "nacl/secretbox";
/// Length of a line of base64 in PEM (RFC 7468).
const LINE: usize = 64;

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Derivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Derivation {
    name: String,
    params: Parameters,
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Parameters {
    #[serde(rename = "N")]
    cost: u64,
    #[serde(rename = "r")]
    block_size: u32,
    #[serde(rename = "p")]
    parallelism: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// The PKCS #8 bytes in a block.
pub(super) fn open(block: &str, label: &str, password: &[u8]) -> Result<Vec<u8>, Problem> {
    let other = |text: &str| Problem::Other(text.to_owned());
    let lines = block.lines().map(str::trim).filter(|line| !line.contains(label));
    let json = decode(&lines.collect::<String>()).ok_or_else(|| other("its PEM block is not base64"))?;
    let sealed: Sealed = serde_json::from_slice(&json)
        .map_err(|cause| Problem::Other(format!("its PEM block cannot be read: {cause}")))?;
    if (sealed.kdf.name.as_str(), sealed.cipher.name.as_str()) != (KDF, BOX) {
        return Err(other("it is encrypted in a way that is not read here"));
    }
    let Parameters { cost, block_size, parallelism } = sealed.kdf.params;
    let memory = cost.saturating_mul(u64::from(block_size)).saturating_mul(128);
    let parameters = cost
        .is_power_of_two()
        .then(|| scrypt::Params::new(cost.ilog2() as u8, block_size, parallelism, 32).ok())
        .flatten()
        .filter(|_| memory <= MEMORY_LIMIT && parallelism <= PARALLELISM_LIMIT);
    let parameters = parameters.ok_or_else(|| other("the cost of its password is out of range"))?;
    let (salt, nonce) = (decode(&sealed.kdf.salt), decode(&sealed.cipher.nonce));
    let nonce: Option<[u8; 24]> = nonce.and_then(|nonce| nonce.try_into().ok());
    let (Some(salt), Some(nonce), Some(ciphertext)) = (salt, nonce, decode(&sealed.ciphertext)) else {
        return Err(other("its salt, nonce or content is damaged"));
    };
    let mut key = [0; 32];
    scrypt::scrypt(password, &salt, &parameters, &mut key).map_err(|_| other("its password cannot be used"))?;
    let cipher = XSalsa20Poly1305::new(Key::from_slice(&key));
    cipher.decrypt(Nonce::from_slice(&nonce), ciphertext.as_slice()).map_err(|_| Problem::WrongPassword)
}

/// A block that [`open`] opens with the password.
pub(super) fn seal(content: &[u8], password: &[u8]) -> io::Result<String> {
    let Parameters { cost, block_size, parallelism } = STANDARD_COST;
    let parameters = scrypt::Params::new(cost.ilog2() as u8, block_size, parallelism, 32)
        .map_err(|cause| io::Error::other(cause.to_string()))?;
    let (mut salt, mut nonce, mut key) = ([0; 32], [0; 24], [0; 32]);
    getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut nonce)).map_err(io::Error::other)?;
    scrypt::scrypt(password, &salt, &parameters, &mut key).map_err(|cause| io::Error::other(cause.to_string()))?;
    let cipher = XSalsa20Poly1305::new(Key::from_slice(&key));
    let ciphertext = cipher.encrypt(Nonce::from_slice(&nonce), content).map_err(|_| io::Error::other("no box"))?;
    let sealed = Sealed {
        kdf: Derivation { name: KDF.to_owned(), params: STANDARD_COST, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: BOX.to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    let text = STANDARD.encode(serde_json::to_vec(&sealed)?);
    let lines: Vec<&str> = text.as_bytes().chunks(LINE).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let [label, _] = LABELS;
    Ok(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with a cost that a test can afford.
    fn sealed(content: &[u8], password: &[u8], cost: u64) -> String {
        let parameters = scrypt::Params::new(4, 8, 1, 32).expect("parameters");
        let mut key = [0; 32];
        scrypt::scrypt(password, b"salt", &parameters, &mut key).expect("a key");
        let cipher = XSalsa20Poly1305::new(Key::from_slice(&key));
        let ciphertext = cipher.encrypt(Nonce::from_slice(&[1; 24]), content).expect("a box");
        let json = serde_json::json!({
            "kdf": {"name": "scrypt", "params": {"N": cost, "r": 8, "p": 1}, "salt": STANDARD.encode(b"salt")},
            "cipher": {"name": "nacl/secretbox", "nonce": STANDARD.encode([1; 24])},
            "ciphertext": STANDARD.encode(ciphertext),
        });
        let label = LABELS[0];
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(json.to_string()))
    }

    #[test]
    fn the_password_opens_it_and_no_other_does() {
        let block = sealed(b"content", b"secret", 16);
        assert_eq!(open(&block, LABELS[0], b"secret"), Ok(b"content".to_vec()));
        assert_eq!(open(&block, LABELS[0], b"Secret"), Err(Problem::WrongPassword));
    }

    #[test]
    fn what_is_sealed_opens_and_says_how() {
        let block = seal(b"content", b"secret").expect("a block");
        assert_eq!(open(&block, LABELS[0], b"secret"), Ok(b"content".to_vec()));
        assert_eq!(open(&block, LABELS[0], b""), Err(Problem::WrongPassword));
        assert_ne!(block, seal(b"content", b"secret").expect("a block"), "salt and nonce are used once");
        let lines: Vec<&str> = block.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= LINE), "{block}");
        let json = STANDARD.decode(lines[1..lines.len() - 1].concat()).expect("base64");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["kdf"]["params"], serde_json::json!({"N": 65536, "r": 8, "p": 1}));
        assert_eq!((&json["kdf"]["name"], &json["cipher"]["name"]), (&"scrypt".into(), &"nacl/secretbox".into()));
    }

    #[test]
    fn a_cost_out_of_range_is_refused_before_it_is_paid() {
        for cost in [0, 15, 1 << 40, u64::MAX] {
            let error = open(&sealed(b"content", b"secret", cost), LABELS[0], b"secret");
            assert_eq!(error, Err(Problem::Other("the cost of its password is out of range".to_owned())), "{cost}");
        }
        assert!(open("-----BEGIN x-----\nnot base64!\n", "x", b"").is_err());
    }
}
