//! Small invented archives for the tests: index entries, packages, a signing key that signs nothing else, and a server.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use pgp::composed::{CleartextSignedMessage, Deserializable as _, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, Mpi, Password, SignatureBytes, Timestamp};
use url::Url;

use crate::lock::LockedDeb;
use crate::oci::Digest;

use super::keyring::Keyring;

/// The tests' present: January 2027.
pub(super) const NOW: u64 = 1_800_000_000;

fn secret_key() -> SignedSecretKey {
    SignedSecretKey::from_string(include_str!("testdata/signing-key.asc")).expect("the test key").0
}

pub(super) fn test_keyring() -> Keyring {
    let armored = secret_key().to_public_key().to_armored_string(pgp::composed::ArmorOptions::default());
    let mut keyring = Keyring::default();
    keyring.add("the test key", &armored.expect("armored")).expect("usable");
    keyring
}

pub(super) fn sign(text: &str) -> String {
    sign_with(text, HashAlgorithm::Sha256)
}

pub(super) fn sign_with(text: &str, hash: HashAlgorithm) -> String {
    let key = secret_key();
    let mut config = SignatureConfig::v4(SignatureType::Text, key.algorithm(), hash);
    let subpacket = |data| Subpacket::regular(data).expect("a subpacket");
    // A fixed time before any present, so that signatures hold against the real clock as well.
    config.hashed_subpackets = vec![
        subpacket(SubpacketData::SignatureCreationTime(Timestamp::from_secs(1_760_000_000))),
        subpacket(SubpacketData::IssuerFingerprint(key.fingerprint())),
    ];
    let message = match hash {
        // Nobody signs with it any more: a signature of the right shape, which is refused before it is checked.
        HashAlgorithm::Sha1 => CleartextSignedMessage::new_many(text, |_| {
            let numbers = vec![Mpi::from_slice(&[1; 32]), Mpi::from_slice(&[1; 32])];
            Ok(vec![Signature::from_config(config, [0, 0], SignatureBytes::Mpis(numbers))?])
        }),
        _ => CleartextSignedMessage::new(text, config, &key.primary_key, &Password::empty()),
    };
    let message = message.expect("signed");
    message.to_armored_string(pgp::composed::ArmorOptions::default()).expect("armored")
}

/// An entry of a `Packages` file; `more` is further lines, each with its line feed.
pub(super) fn index_entry(name: &str, version: &str, more: &str) -> String {
    let digest = Digest::of(format!("{name} {version}").as_bytes()).hex();
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}Filename: pool/{name}_{version}_amd64.deb\nSize: 10\nSHA256: {digest}\n\n"
    )
}

/// How a package's members are packed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Packing {
    None,
    Gzip,
    Xz,
    Zstd,
}

/// Makes a .deb in memory.
pub(super) struct DebBuilder {
    name: String,
    version: String,
    fields: String,
    control: Vec<(String, Vec<u8>)>,
    data: tar::Builder<Vec<u8>>,
    packing: Packing,
}

impl DebBuilder {
    pub(super) fn new(name: &str, version: &str) -> Self {
        let data = tar::Builder::new(Vec::new());
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { name, version, fields: String::new(), control: Vec::new(), data, packing: Packing::Gzip }
    }
    /// Adds a line to the control file.
    pub(super) fn field(mut self, line: &str) -> Self {
        self.fields.push_str(line);
        self.fields.push('\n');
        self
    }
    pub(super) fn script(mut self, name: &str, text: &str) -> Self {
        self.control.push((name.to_owned(), text.as_bytes().to_vec()));
        self
    }
    pub(super) fn packing(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }
    pub(super) fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, tar::EntryType::Directory, None, b"", mode, 0, 0)
    }
    pub(super) fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, tar::EntryType::Regular, None, content, 0o644, 0, 0)
    }
    pub(super) fn file_with(self, path: &str, content: &[u8], mode: u32, uid: u64, gid: u64) -> Self {
        self.entry(path, tar::EntryType::Regular, None, content, mode, uid, gid)
    }
    pub(super) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, Some(target), b"", 0o777, 0, 0)
    }
    pub(super) fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Link, Some(target), b"", 0o644, 0, 0)
    }
    pub(super) fn special(self, path: &str) -> Self {
        self.entry(path, tar::EntryType::Char, None, b"", 0o644, 0, 0)
    }

    /// Writes names into the header as they are: the `tar` crate would refuse those that climb.
    #[expect(clippy::too_many_arguments, reason = "a header's fields")]
    fn entry(
        mut self,
        path: &str,
        kind: tar::EntryType,
        target: Option<&str>,
        content: &[u8],
        mode: u32,
        uid: u64,
        gid: u64,
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_size(content.len() as u64);
        if path.len() > 100 {
            let mut long = tar::Header::new_gnu();
            long.set_entry_type(tar::EntryType::GNULongName);
            long.set_size(path.len() as u64 + 1);
            long.set_cksum();
            self.data.append(&long, [path.as_bytes(), b"\0"].concat().as_slice()).expect("appended");
        }
        let gnu = header.as_gnu_mut().expect("a GNU header");
        let length = path.len().min(100);
        gnu.name[..length].copy_from_slice(&path.as_bytes()[..length]);
        if let Some(target) = target {
            gnu.linkname[..target.len()].copy_from_slice(target.as_bytes());
        }
        header.set_cksum();
        self.data.append(&header, content).expect("appended");
        self
    }

    pub(super) fn build(self) -> Vec<u8> {
        let mut control = tar::Builder::new(Vec::new());
        let text = format!(
            "Package: {}\nVersion: {}\nArchitecture: amd64\n{}Description: invented\n",
            self.name, self.version, self.fields
        );
        for (name, bytes) in [("control".to_owned(), text.into_bytes())].iter().chain(&self.control) {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            control.append_data(&mut header, format!("./{name}"), bytes.as_slice()).expect("appended");
        }
        let control = control.into_inner().expect("a tar");
        let data = self.data.into_inner().expect("a tar");
        let (suffix, control, data) = match self.packing {
            Packing::None => ("", control, data),
            Packing::Gzip => (".gz", gzip(&control), gzip(&data)),
            Packing::Xz => (".xz", xz(&control), xz(&data)),
            Packing::Zstd => (".zst", zstd(&control), zstd(&data)),
        };
        let mut archive = b"!<arch>\n".to_vec();
        for (name, bytes) in [
            ("debian-binary".to_owned(), b"2.0\n".to_vec()),
            (format!("control.tar{suffix}"), control),
            (format!("data.tar{suffix}"), data),
        ] {
            archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes());
            archive.extend(&bytes);
            if bytes.len() % 2 == 1 {
                archive.push(b'\n');
            }
        }
        archive
    }

    /// The file in a folder, with a lock entry for it.
    pub(super) fn write(self, folder: &std::path::Path) -> (LockedDeb, std::path::PathBuf) {
        let (name, version) = (self.name.clone(), self.version.clone());
        let bytes = self.build();
        let path = folder.join(format!("{name}_{version}.deb"));
        std::fs::write(&path, &bytes).expect("written");
        (locked(&name, &version, &bytes), path)
    }
}

/// The lock entry of a file in the archive `debian`.
pub(super) fn locked(name: &str, version: &str, bytes: &[u8]) -> LockedDeb {
    LockedDeb {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        archive: "debian".to_owned(),
        path: format!("pool/{name}_{version}_amd64.deb"),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("packed")
}

/// A server on loopback: paths and their bytes, changeable while it runs, and the paths asked for so far. It ends with the
/// process.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) url: Url,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = Url::parse(&format!("http://{}/debian", listener.local_addr().expect("an address"))).expect("a URL");
        let server = Self { url, files: Arc::default(), requests: Arc::default() };
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                let is_known =
                    lines.take_while(|line| !line.is_empty()).any(|line| line.starts_with("if-modified-since"));
                let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches("/debian/").to_owned();
                shared.requests.lock().expect("unpoisoned").push(path.clone());
                let found = shared.files.lock().expect("unpoisoned").get(&path).cloned();
                let (status, body) = match found {
                    Some(_) if is_known => ("304 Not Modified", Vec::new()),
                    Some(bytes) => ("200 OK", bytes),
                    None => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(&body));
            }
        });
        server
    }
    pub(super) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().expect("unpoisoned").insert(path.to_owned(), bytes.into());
    }
    pub(super) fn remove(&self, path: &str) {
        self.files.lock().expect("unpoisoned").remove(path);
    }
    /// The requests since the last call.
    pub(super) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("unpoisoned"))
    }
}
