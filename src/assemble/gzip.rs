//! Gzip members (RFC 1952). Several of them one after another are one gzip file, which is what layers are made of.
//!
//! libdeflate compresses: at a given level its output is the same on every processor, while zlib-rs chooses its hash
//! function by instruction set. Inflating may be done by either, since there is only one right result.

use std::io::{self, Read, Write};

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor, Decompressor};

/// No name, no time, no operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Members at most this large, plain and compressed, are inflated in one go by libdeflate, which is twice as fast.
const WHOLE: u64 = 8 << 20;
/// Step of reading compressed bytes, and of inflating.
const STEP: usize = 128 << 10;

/// A raw deflate stream, as a zip archive stores it, and what is claimed of it.
#[derive(Debug)]
pub struct Deflated<R> {
    /// Bytes of the plain content.
    pub uncompressed_size: u64,
    /// Bytes of the stream.
    pub compressed_size: u64,
    /// CRC-32 of the plain content.
    pub crc32: u32,
    /// Gives the stream; bytes after `compressed_size` are not read.
    pub reader: R,
}

/// Why a deflate stream was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source failed or ended early.
    #[error("cannot read the compressed bytes: {0}")]
    Read(#[source] io::Error),
    /// The destination failed.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
    /// The stream breaks the format or ends early.
    #[error("the deflate stream is damaged")]
    Damaged,
    /// The stream is shorter than claimed: other bytes follow it, or none.
    #[error("the deflate stream ends {0} bytes before its claimed size")]
    Trailing(u64),
    /// The plain content is longer or shorter than claimed.
    #[error("it inflates to {found} bytes or more, and {claimed} were claimed")]
    Size {
        /// Claimed bytes.
        claimed: u64,
        /// Bytes that came out before inflating stopped.
        found: u64,
    },
    /// The plain content is not what was claimed.
    #[error("its CRC-32 is {found:08x}, and {claimed:08x} was claimed")]
    Crc32 {
        /// Claimed checksum.
        claimed: u32,
        /// Checksum of what came out.
        found: u32,
    },
}

/// Memory that is used again and again, and not cleared between: that would take a part of the time of inflating.
#[derive(Default)]
struct Buffer(Vec<u8>);

impl Buffer {
    /// So many bytes, whatever is in them.
    fn room(&mut self, size: usize) -> &mut [u8] {
        if self.0.len() < size {
            self.0.resize(size, 0);
        }
        self.0.get_mut(..size).unwrap_or_default()
    }

    /// The first so many bytes of what was last written.
    fn first(&self, size: usize) -> &[u8] {
        self.0.get(..size).unwrap_or_default()
    }
}

/// Makes members. Holds buffers, so one per layer.
pub(super) struct Deflater {
    compressor: Compressor,
    member: Buffer,
}

impl Deflater {
    /// With the level that is part of the layer format.
    pub(super) fn new() -> Self {
        Self { compressor: Compressor::new(CompressionLvl::default()), member: Buffer::default() }
    }

    /// `plain` as one member.
    pub(super) fn compress(&mut self, plain: &[u8]) -> io::Result<&[u8]> {
        let bound = self.compressor.deflate_compress_bound(plain.len());
        let end = trailer(crc32fast::hash(plain), plain.len() as u64);
        let room = self.member.room(HEADER.len() + bound + end.len());
        let (header, rest) = room.split_at_mut(HEADER.len());
        header.copy_from_slice(&HEADER);
        let written = self.compressor.deflate_compress(plain, rest).map_err(io::Error::other)?;
        if let Some(place) = rest.get_mut(written..written + end.len()) {
            place.copy_from_slice(&end);
        }
        Ok(self.member.first(HEADER.len() + written + end.len()))
    }
}

/// Inflates deflate streams, and copies them as members. Holds buffers, so one per layer.
pub(super) struct Inflater {
    decompressor: Decompressor,
    member: Vec<u8>,
    plain: Buffer,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { decompressor: Decompressor::new(), member: Vec::new(), plain: Buffer::default() }
    }

    /// Copies a stream into `sink` as one member, unchanged, and gives its plain content to `on_plain`. Success means that
    /// the stream is whole and sound and holds what was claimed; after an error what was written is of no use.
    pub(super) fn copy<R: Read>(
        &mut self,
        mut deflated: Deflated<R>,
        sink: &mut impl Write,
        on_plain: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        if is_small(&deflated) {
            let size = self.inflate_whole(&mut deflated)?;
            on_plain(self.plain.first(size));
            return sink.write_all(&self.member).map_err(Error::Write);
        }
        sink.write_all(&HEADER).map_err(Error::Write)?;
        let end = trailer(deflated.crc32, deflated.uncompressed_size);
        inflate(deflated, sink, on_plain)?;
        sink.write_all(&end).map_err(Error::Write)
    }

    /// Gives a stream's plain content to `on_plain`, with the same promise as [`Self::copy`].
    pub(super) fn inflate<R: Read>(
        &mut self,
        mut deflated: Deflated<R>,
        on_plain: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        if is_small(&deflated) {
            let size = self.inflate_whole(&mut deflated)?;
            on_plain(self.plain.first(size));
            return Ok(());
        }
        inflate(deflated, &mut io::sink(), on_plain)
    }

    /// Leaves the member in `self.member` and its content in `self.plain`, and returns the content's size.
    fn inflate_whole<R: Read>(&mut self, deflated: &mut Deflated<R>) -> Result<usize, Error> {
        self.member.clear();
        self.member.extend_from_slice(&HEADER);
        let read = deflated.reader.by_ref().take(deflated.compressed_size).read_to_end(&mut self.member);
        if read.map_err(Error::Read)? as u64 != deflated.compressed_size {
            return Err(Error::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        let end = trailer(deflated.crc32, deflated.uncompressed_size);
        self.member.extend_from_slice(&end);
        let size = deflated.uncompressed_size as usize;
        let sound = self.decompressor.gzip_decompress(&self.member, self.plain.room(size)) == Ok(size);
        // libdeflate stops behind the first trailer and does not say where that was, so a second copy of the trailer inside
        // the stream could hide bytes. That, and finding out what is wrong with an unsound stream, is for the slow path.
        let body = self.member.get(..self.member.len() - 1).unwrap_or_default();
        if sound && memchr::memmem::find(body, &end).is_none() {
            return Ok(size);
        }
        let stream = self.member.get(HEADER.len()..self.member.len() - end.len()).unwrap_or_default();
        let Deflated { uncompressed_size, compressed_size, crc32, .. } = *deflated;
        let again = Deflated { uncompressed_size, compressed_size, crc32, reader: stream };
        inflate(again, &mut io::sink(), &mut |_| {}).map(|()| size)
    }
}

/// Whether a stream is inflated in one go.
pub(super) fn is_small<R>(deflated: &Deflated<R>) -> bool {
    deflated.uncompressed_size.max(deflated.compressed_size) <= WHOLE
}

/// CRC-32 and size modulo 2^32, little-endian.
fn trailer(crc32: u32, size: u64) -> [u8; 8] {
    let (crc, size) = (crc32.to_le_bytes(), (size as u32).to_le_bytes());
    [crc[0], crc[1], crc[2], crc[3], size[0], size[1], size[2], size[3]]
}

/// Inflates in small steps while the stream passes on to `raw`. Never gives more than was claimed.
pub(super) fn inflate<R: Read>(
    deflated: Deflated<R>,
    raw: &mut impl Write,
    on_plain: &mut dyn FnMut(&[u8]),
) -> Result<(), Error> {
    let Deflated { uncompressed_size: claimed, compressed_size, crc32, reader } = deflated;
    let mut reader = reader.take(compressed_size);
    let mut inflater = Decompress::new(false);
    let mut hasher = crc32fast::Hasher::new();
    let (mut compressed, mut plain) = (vec![0; STEP], vec![0; 2 * STEP]);
    let mut ended = false;
    let mut passed = 0;
    while passed < compressed_size {
        let count = match reader.read(&mut compressed) {
            Ok(0) => return Err(Error::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Read(error)),
        };
        passed += count as u64;
        let mut input = compressed.get(..count).unwrap_or_default();
        raw.write_all(input).map_err(Error::Write)?;
        loop {
            let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(input, &mut plain, FlushDecompress::None).map_err(|_| Error::Damaged)?;
            let consumed = (inflater.total_in() - before_in) as usize;
            let produced = (inflater.total_out() - before_out) as usize;
            input = input.get(consumed..).unwrap_or_default();
            if inflater.total_out() > claimed {
                return Err(Error::Size { claimed, found: inflater.total_out() });
            }
            let piece = plain.get(..produced).unwrap_or_default();
            hasher.update(piece);
            on_plain(piece);
            ended = status == Status::StreamEnd;
            // A full output buffer may hide more output for the same input.
            if ended || (input.is_empty() && produced < plain.len()) {
                break;
            }
            if consumed == 0 && produced == 0 {
                return Err(Error::Damaged);
            }
        }
        if ended {
            break;
        }
    }
    if !ended {
        return Err(Error::Damaged);
    }
    if inflater.total_in() != compressed_size {
        return Err(Error::Trailing(compressed_size - inflater.total_in()));
    }
    if inflater.total_out() != claimed {
        return Err(Error::Size { claimed, found: inflater.total_out() });
    }
    match hasher.finalize() {
        found if found == crc32 => Ok(()),
        found => Err(Error::Crc32 { claimed: crc32, found }),
    }
}
