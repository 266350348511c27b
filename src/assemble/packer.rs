//! What packs a layer's own bytes: gzip members or zstd frames, either of which may be put one after another.
//!
//! The pieces, the level and the library's version decide the bytes, and are part of the layer format.

use std::io;

use super::gzip::Deflater;
use crate::oci::Compression;

/// zstd's own default, which packs wheels a tenth smaller than their deflate streams.
const ZSTD_LEVEL: i32 = 3;

/// Packs pieces, each on its own.
pub(super) enum Packer {
    /// As gzip members.
    Gzip(Deflater),
    /// As zstd frames.
    Zstd(zstd::bulk::Compressor<'static>, Vec<u8>),
}

impl Packer {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => Self::Gzip(Deflater::new()),
            Compression::Zstd => Self::Zstd(zstd::bulk::Compressor::new(ZSTD_LEVEL)?, Vec::new()),
        })
    }

    /// Bytes of a piece: a reader of gzip's members wants them small, zstd finds more in larger ones.
    pub(super) fn piece(&self) -> usize {
        match self {
            Self::Gzip(_) => 1 << 20,
            Self::Zstd(..) => 8 << 20,
        }
    }

    /// Whether deflate streams can be copied instead of packed.
    pub(super) fn copies_deflate(&self) -> bool {
        matches!(self, Self::Gzip(_))
    }

    /// One piece, packed.
    pub(super) fn pack(&mut self, plain: &[u8]) -> io::Result<&[u8]> {
        match self {
            Self::Gzip(deflater) => deflater.compress(plain),
            Self::Zstd(compressor, frame) => {
                frame.clear();
                frame.reserve(zstd::zstd_safe::compress_bound(plain.len()));
                compressor.compress_to_buffer(plain, frame)?;
                Ok(frame)
            }
        }
    }
}
