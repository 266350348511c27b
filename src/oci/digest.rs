//! sha256 content addresses. `Digest` names stored bytes, `DiffId` names the plain tar inside a layer; the OCI
//! specifications write both as `sha256:<hex>`, so only the types keep them apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

use super::twin::{self, BLOCK, State};

/// The state of an empty hash: FIPS 180-4, section 5.3.3.
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

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
                let digit = |value: u8| char::from(value + if value < 10 { b'0' } else { b'a' - 10 });
                self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
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

/// A running sha256. Two of them may go over the same bytes together; see [`Self::update_both`].
#[derive(Clone)]
pub struct Hasher {
    state: State,
    /// Bytes so far. Those beyond the last full block are at the beginning of `pending`.
    length: u64,
    pending: [u8; BLOCK],
}

impl Hasher {
    /// An empty hash.
    pub fn new() -> Self {
        Self { state: INITIAL, length: 0, pending: [0; BLOCK] }
    }
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.fill(bytes).as_chunks();
        compress256(&mut self.state, blocks);
        self.keep(blocks, rest);
    }
    /// Adds the same bytes to two hashes. Where both stand equally far from a border of blocks, as a file does that begins on
    /// one of the tar around it, this takes little longer than adding them to one.
    pub fn update_both(one: &mut Self, other: &mut Self, bytes: &[u8]) {
        if one.filled() != other.filled() {
            one.update(bytes);
            other.update(bytes);
            return;
        }
        other.fill(bytes);
        let (blocks, rest) = one.fill(bytes).as_chunks();
        twin::compress(&mut one.state, &mut other.state, blocks);
        one.keep(blocks, rest);
        other.keep(blocks, rest);
    }
    /// The result as the address of stored bytes.
    pub fn digest(self) -> Digest {
        Digest(self.finish())
    }
    /// The result as the address of an uncompressed tar.
    pub fn diff_id(self) -> DiffId {
        DiffId(self.finish())
    }

    /// Bytes pending.
    fn filled(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// Completes the pending block as far as the bytes go, and returns those behind it.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let filled = self.filled();
        if filled == 0 {
            return bytes;
        }
        let (taken, rest) = bytes.split_at(bytes.len().min(BLOCK - filled));
        self.pending[filled..filled + taken.len()].copy_from_slice(taken);
        self.length += taken.len() as u64;
        if self.filled() == 0 {
            compress256(&mut self.state, &[self.pending]);
        }
        rest
    }

    /// Counts blocks that were taken in, and keeps what is behind them. If the pending block is not complete, there is nothing.
    fn keep(&mut self, blocks: &[[u8; BLOCK]], rest: &[u8]) {
        if let Some(start) = self.pending.get_mut(..rest.len()).filter(|start| !start.is_empty()) {
            start.copy_from_slice(rest);
        }
        self.length += (blocks.as_flattened().len() + rest.len()) as u64;
    }

    /// The bit 1, zeros, and the number of bits up to the end of a block.
    fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8).to_be_bytes();
        let zeros = (2 * BLOCK - 1 - bits.len() - self.filled()) % BLOCK;
        self.update(&[0x80]);
        self.update(&[0; BLOCK][..zeros]);
        self.update(&bits);
        let mut bytes = [0; 32];
        for (word, value) in bytes.as_chunks_mut().0.iter_mut().zip(self.state) {
            *word = value.to_be_bytes();
        }
        bytes
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn hashes_as_the_standard_says(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..8),
            ahead in prop::collection::vec(any::<u8>(), 0..130),
        ) {
            let (mut whole, mut part, mut all) = (Hasher::new(), Hasher::new(), ahead.clone());
            whole.update(&ahead);
            for (piece, together) in pieces {
                if together {
                    Hasher::update_both(&mut whole, &mut part, &piece);
                } else {
                    whole.update(&piece);
                    part.update(&piece);
                }
                all.extend(piece);
            }
            prop_assert_eq!(whole.digest(), Digest::of(&all));
            prop_assert_eq!(part.diff_id(), DiffId::of(&all[ahead.len()..]));
        }
    }
}
