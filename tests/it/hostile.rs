//! Real wheels with a bit flipped or an end cut off are refused, or give a layer of the very content of the sound one.
//!
//! A build never gets this far, since the sha256 of the file is checked before. It is what stands between a disk that
//! forgets and an image, for wheels that were checked on another day.

use std::collections::BTreeSet;
use std::io::Cursor;

use imgforge::assemble::LayerWriter;
use imgforge::assemble::wheel::{Error, Site, Wheel, write_opened};
use imgforge::oci::{Compression, DiffId};
use imgforge::version::PythonVersion;

use crate::support::tree::{self, Kind, Tree};
use crate::support::wheels::{Pinned, pinned};

/// Small ones that have between them scripts, entry points, stored members, a signed RECORD and folders as members.
const CHOSEN: [&str; 5] = ["six-1.10.0", "wheel-0.24.0", "jsonpointer-3.12", "nose-1.3.7", "sniffio-1.3.1"];
/// Flips for each of them.
const FLIPS: u64 = 600;

fn chosen() -> impl Iterator<Item = (&'static Pinned, Vec<u8>)> {
    CHOSEN.iter().map(|start| {
        let wheel = pinned().iter().find(|wheel| wheel.input.filename.starts_with(&format!("{start}-")));
        let wheel = wheel.unwrap_or_else(|| panic!("no {start} among the pinned wheels"));
        (wheel, std::fs::read(&wheel.input.path).expect("a wheel"))
    })
}

/// The layer's bytes, and the address of its content. One content may be deflated in several ways: the bits that fill up a
/// stream's last byte say nothing.
fn install(bytes: &[u8], wheel: &Pinned) -> Result<(Vec<u8>, DiffId), Error> {
    let site = Site { prefix: "/opt/venv".to_owned(), python: PythonVersion { major: 3, minor: 13 } };
    let mut opened = Wheel::open(Cursor::new(bytes), &wheel.input.filename)?;
    let installation = opened.installation(&site)?;
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a layer");
    write_opened(&mut [(opened, installation)], &mut layer)?;
    let finished = layer.finish().expect("memory");
    Ok((finished.sink, finished.diff_id))
}

/// Bytes of an archive that say what may be executed, which no checksum covers: of each line of the directory the system that
/// it was made on, and the mode there (APPNOTE 4.3.12).
fn mode_bytes(bytes: &[u8]) -> BTreeSet<usize> {
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte))
    };
    let mut at = number(bytes.len() - 6, 4);
    let mut found = BTreeSet::new();
    while bytes[at..].starts_with(b"PK\x01\x02") {
        found.extend([at + 5, at + 40, at + 41]);
        at += 46 + number(at + 28, 2) + number(at + 30, 2) + number(at + 32, 2);
    }
    found
}

/// A tree as it is if nobody may execute anything.
fn without_modes(layer: &[u8]) -> Tree {
    let mut tree = tree::of_layer(layer, "opt/venv");
    tree.values_mut().filter(|node| matches!(node.kind, Kind::File(_))).for_each(|node| node.mode &= !0o111);
    tree
}

/// The numbers of a fixed sequence (xorshift), so that a failure can be had again.
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(seed), |&state| {
        let state = state ^ state << 13;
        let state = state ^ state >> 7;
        Some(state ^ state << 17)
    })
    .map(|state| (state >> 11) as usize)
}

#[test]
fn a_flipped_bit_is_refused_or_makes_no_difference() {
    for (seed, (wheel, bytes)) in chosen().enumerate() {
        let (sound, expected) = install(&bytes, wheel).expect("a sound wheel");
        let modes = mode_bytes(&bytes);
        assert!(modes.len() > 9, "{}", wheel.input.filename);
        let mut random = numbers(seed as u64 + 0x9e37_79b9);
        let (mut refused, mut same) = (0, 0);
        for _ in 0..FLIPS {
            let at = random.next().expect("endless") % bytes.len();
            let bit = random.next().expect("endless") % 8;
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            match install(&flipped, wheel) {
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.starts_with(&format!("cannot install `{}`: ", wheel.input.filename)), "{text}");
                    refused += 1;
                }
                Ok((layer, _)) if modes.contains(&at) => assert!(without_modes(&layer) == without_modes(&sound)),
                Ok((_, content)) => {
                    assert!(content == expected, "{}: bit {bit} of byte {at} goes unseen", wheel.input.filename);
                    same += 1;
                }
            }
        }
        // Streams, names and numbers are most of a wheel; times and versions are not nothing.
        assert!(refused > FLIPS / 2 && same > 0, "{}: {refused} refused, {same} same", wheel.input.filename);
    }
}

#[test]
fn a_cut_wheel_is_refused() {
    for (wheel, bytes) in chosen() {
        let random = numbers(bytes.len() as u64).map(|number| number % bytes.len());
        for length in random.take(150).chain(bytes.len() - 60..bytes.len()) {
            let error = install(&bytes[..length], wheel).map(|_| ()).expect_err("refused");
            assert!(!error.to_string().is_empty(), "{length}");
        }
    }
}
