use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::assemble::testing::{Tree, layer_bytes, layer_tree};

/// `content` as a deflate stream.
fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn deflated<'a>(content: &[u8], stream: &'a [u8]) -> Deflated<&'a [u8]> {
    Deflated {
        uncompressed_size: content.len() as u64,
        compressed_size: stream.len() as u64,
        crc32: crc32fast::hash(content),
        reader: stream,
    }
}

/// Bytes that do not compress, from a seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn folders_come_before_what_they_hold_and_once() {
    let user = Owner { user: 1000, group: 1000 };
    let tree = layer_tree(|layer| {
        layer.folder_below("opt", 0o751, Owner::ROOT)?;
        layer.folder_below("srv", 0o755, Owner::ROOT)?;
        layer.file_bytes("opt/a/b/file", 0o644, user, b"content")?;
        layer.directory("opt/a/c", 0o700, Owner::ROOT)?;
        layer.directory("opt/a/c", 0o700, Owner::ROOT)?;
        layer.symlink("opt/a/link", "../a", Owner::ROOT)?;
        layer.hard_link("opt/a/hard", "opt/a/b/file", 0o644, user)
    });
    assert_eq!(
        tree.listing(),
        "d 0751 0:0 opt/\n\
         d 0755 1000:1000 opt/a/\n\
         d 0755 1000:1000 opt/a/b/\n\
         f 0644 1000:1000 opt/a/b/file\n\
         d 0700 0:0 opt/a/c/\n\
         l 0777 0:0 opt/a/link -> ../a\n\
         h 0644 1000:1000 opt/a/hard -> opt/a/b/file\n"
    );
}

#[test]
fn an_empty_layer_has_these_bytes() {
    let finished = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer").finish().expect("a layer");
    assert_eq!(finished.diff_id.to_string(), "sha256:5fc8ed59943c4dbd65730b84af2c14d63c504009fb502b161dd64b7c939b86b9");
    assert_eq!(finished.sink.get(..10), Some([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff].as_slice()));
}

#[test]
fn paths_that_no_layer_may_have_are_refused() {
    for path in ["", "/a", "a//b", "a/", "./a", "a/../b", "..", "a\0b", "a/.wh.b", ".wh..wh..opq"] {
        let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
        let refused = layer.file_bytes(path, 0o644, Owner::ROOT, b"");
        assert!(matches!(refused, Err(Error::Path { .. })), "{path:?}");
    }
}

#[test]
fn a_path_is_one_thing() {
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    layer.file_bytes("a", 0o644, Owner::ROOT, b"").expect("new");
    assert!(matches!(layer.file_bytes("a", 0o644, Owner::ROOT, b""), Err(Error::Duplicate { .. })));
    assert!(matches!(layer.directory("a", 0o755, Owner::ROOT), Err(Error::Duplicate { .. })));
    assert!(matches!(layer.file_bytes("a/b", 0o644, Owner::ROOT, b""), Err(Error::NotAFolder { .. })));
    layer.directory("d", 0o755, Owner::ROOT).expect("new");
    assert!(matches!(layer.directory("d", 0o700, Owner::ROOT), Err(Error::Duplicate { .. })));
    assert!(matches!(layer.hard_link("h", "d", 0o644, Owner::ROOT), Err(Error::Path { .. })));
}

#[test]
fn a_source_must_have_the_announced_size() {
    for (announced, found) in [(2, 3), (4, 3)] {
        let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
        let result = layer.file("a", 0o644, Owner::ROOT, announced, &mut b"abc".as_slice());
        assert!(matches!(result, Err(Error::Size { found: f, .. }) if f == found), "{announced}");
    }
}

#[test]
fn a_stream_is_copied_unchanged_and_passes_by() {
    let content = noise(20_000, 7);
    let stream = deflate(&content);
    let mut seen = Vec::new();
    let bytes = layer_bytes(|layer| {
        layer.deflated("a", 0o755, Owner::ROOT, deflated(&content, &stream), &mut |piece| {
            seen.extend_from_slice(piece);
        })?;
        Ok::<_, Error>(())
    });
    assert_eq!(seen, content);
    assert!(bytes.windows(stream.len()).any(|window| window == stream));
    assert_eq!(Tree::read(&bytes).files()["a"], content);
}

#[test]
fn streams_larger_than_memory_allows_are_checked_as_well() {
    let content = vec![7; 20 << 20];
    let stream = deflate(&content);
    let write = |claim: &dyn Fn(&mut Deflated<&[u8]>)| {
        let mut claimed = deflated(&content, &stream);
        claim(&mut claimed);
        LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer").deflated(
            "a",
            0o644,
            Owner::ROOT,
            claimed,
            &mut |_| {},
        )
    };
    write(&|_| {}).expect("a sound stream");
    let refused = |result: Result<Digest, Error>| match result {
        Err(Error::Content { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(write(&|claimed| claimed.crc32 ^= 1)).contains("CRC-32"));
    assert!(refused(write(&|claimed| claimed.uncompressed_size -= 1)).contains("inflates to"));
    assert!(refused(write(&|claimed| claimed.uncompressed_size += 1)).contains("inflates to"));
    assert_eq!(refused(write(&|claimed| claimed.compressed_size -= 1)), "the deflate stream is damaged");
    assert!(refused(write(&|claimed| claimed.compressed_size += 1)).contains("ends 1 bytes before"));
}

#[test]
fn a_zstd_layer_holds_the_same_tar_without_a_table() {
    let contents = [noise(3_000_000, 13), vec![7; 9 << 20], b"tiny".to_vec()];
    let write = |compression: Compression| {
        let mut layer = LayerWriter::new(Vec::new(), 0, compression).expect("a packer");
        for (number, content) in contents.iter().enumerate() {
            let stream = deflate(content);
            let path = format!("f{number}");
            let digest = layer.deflated(&path, 0o644, Owner::ROOT, deflated(content, &stream), &mut |_| {});
            assert_eq!(digest.expect("a sound stream"), Digest::of(content));
        }
        layer.finish().expect("a layer")
    };
    let (small, usual) = (write(Compression::Zstd), write(Compression::Gzip));
    assert_eq!((small.digest, small.size), (Digest::of(&small.sink), small.sink.len() as u64));
    assert!(small.toc.is_none() && usual.toc.is_some());
    let plain = zstd::decode_all(small.sink.as_slice()).expect("zstd frames");
    assert_eq!(small.diff_id, DiffId::of(&plain));
    let mut archive = ::tar::Archive::new(plain.as_slice());
    for (entry, content) in archive.entries().expect("a tar").zip(&contents) {
        let mut found = Vec::new();
        entry.expect("an entry").read_to_end(&mut found).expect("a content");
        assert_eq!(found, *content);
    }
    assert_eq!(write(Compression::Zstd).digest, small.digest);
    let mut damaged = deflate(&contents[0]);
    damaged[1000] ^= 1;
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Zstd).expect("a packer");
    let refused = layer.deflated("a", 0o644, Owner::ROOT, deflated(&contents[0], &damaged), &mut |_| {});
    assert!(matches!(refused, Err(Error::Content { .. })));
}

#[test]
fn bytes_cannot_hide_behind_a_copy_of_the_trailer() {
    let content = noise(6000, 3);
    let mut stream = deflate(&content);
    stream.extend_from_slice(&crc32fast::hash(&content).to_le_bytes());
    stream.extend_from_slice(&(content.len() as u32).to_le_bytes());
    stream.extend_from_slice(b"hidden");
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    let result = layer.deflated("a", 0o644, Owner::ROOT, deflated(&content, &stream), &mut |_| {});
    assert!(matches!(result, Err(Error::Content { source: gzip::Error::Trailing(14), .. })), "{result:?}");
}

#[test]
fn gnu_tar_and_gzip_read_a_layer() {
    let content = noise(9000, 11);
    let stream = deflate(&content);
    let long = format!("opt/{}/ü", "x".repeat(120));
    let bytes = layer_bytes(|layer| {
        layer.file_bytes(&long, 0o644, Owner::ROOT, b"long")?;
        layer.deflated("opt/lib.so", 0o755, Owner::ROOT, deflated(&content, &stream), &mut |_| {})?;
        layer.symlink("opt/link", "lib.so", Owner::ROOT)
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("layer.tar.gz");
    std::fs::write(&file, bytes).expect("a file");
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(&file).output().expect(program);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run("gzip", &["-t"]);
    let listing = run("tar", &["--quoting-style=literal", "-tzf"]);
    let ours = ".no.prefetch.landmark\nstargz.index.json\n";
    assert_eq!(listing, format!("opt/\nopt/{}/\n{long}\nopt/lib.so\nopt/link\n{ours}", "x".repeat(120)));
}

/// A reader that gives its bytes in pieces of another size each time.
struct Cut<'a>(&'a [u8], usize);

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 * 31 % 4093 + 1;
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_do_not_depend_on_how_a_source_is_read(sizes in prop::collection::vec(0usize..900_000, 1..5), cut in 1usize..4000) {
        let contents: Vec<Vec<u8>> = sizes.iter().map(|&size| noise(size, size as u64)).collect();
        let write = |cut: Option<usize>| layer_bytes(|layer| {
            for (number, content) in contents.iter().enumerate() {
                let path = format!("f{number}");
                match cut {
                    None => layer.file_bytes(&path, 0o644, Owner::ROOT, content)?,
                    Some(cut) => {
                        let size = content.len() as u64;
                        layer.file(&path, 0o644, Owner::ROOT, size, &mut Cut(content, cut))?
                    }
                };
            }
            Ok::<_, Error>(())
        });
        let whole = write(None);
        prop_assert_eq!(&whole, &write(Some(cut)));
        let tree = Tree::read(&whole);
        for (number, content) in contents.iter().enumerate() {
            prop_assert_eq!(tree.files()[format!("f{number}").as_str()], content.as_slice());
        }
    }

    #[test]
    fn a_damaged_stream_is_refused(size in 0usize..20_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let content: Vec<u8> = noise(size, 5).iter().map(|byte| byte & 3).collect();
        let mut stream = deflate(&content);
        let index = at.index(stream.len());
        stream[index] ^= 1 << bit;
        let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
        let mut plain = Vec::new();
        let result = layer.deflated("a", 0o644, Owner::ROOT, deflated(&content, &stream), &mut |piece| plain.extend_from_slice(piece));
        // Bits that say nothing, in the padding of the last byte, may differ.
        prop_assert!(result.is_err() || plain == content);
    }
}
