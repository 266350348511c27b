//! sha256 content addresses. `Digest` names stored bytes, `DiffId` names the plain tar inside a layer; the OCI
//! specifications write both as `sha256:<hex>`, so only the types keep them apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A text that is not `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: expected `sha256:` and 64 hexadecimal digits")]
pub struct DigestError(pub String);

macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From the 32 bytes of a sha256.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// 64 lower-case hexadecimal digits, without the algorithm.
            pub fn hex(&self) -> String {
                self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
                    text.push_str(&format!("{byte:02x}"));
                    text
                })
            }
            /// From 64 hexadecimal digits without the algorithm, as package indexes and Debian write them.
            pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let read = |[high, low]: [u8; 2]| Some((digit(high)? << 4 | digit(low)?) as u8);
                let mut bytes = [0; 32];
                let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
                let is_read = bytes.iter_mut().zip(pairs).all(|(byte, &pair)| read(pair).map(|value| *byte = value).is_some());
                match is_read && pairs.len() == bytes.len() && rest.is_empty() {
                    true => Ok(Self(bytes)),
                    false => Err(DigestError(hex.to_owned())),
                }
            }
            /// Hash of bytes in memory.
            pub fn of(bytes: &[u8]) -> Self {
                Self(Sha256::digest(bytes).into())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "sha256:{}", self.hex())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = DigestError;
            fn from_str(text: &str) -> Result<Self, DigestError> {
                let hex = text.strip_prefix("sha256:").ok_or_else(|| DigestError(text.to_owned()))?;
                Self::from_hex(hex).map_err(|_| DigestError(text.to_owned()))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest_newtype! {
    /// sha256 of bytes as they are stored and sent: a compressed layer, a config, a manifest, a wheel, a .deb.
    Digest
}
digest_newtype! {
    /// sha256 of a layer's uncompressed tar, as the image config lists it.
    DiffId
}

/// A running sha256.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// An empty hash.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    /// The result as the address of stored bytes.
    pub fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
    /// The result as the address of an uncompressed tar.
    pub fn diff_id(self) -> DiffId {
        DiffId(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "sha256:", "e3b0c4", "sha512:00", "sha256:zz"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
