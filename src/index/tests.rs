//! The client against a scripted server: pages and their cache, METADATA by every way, downloads that break off.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::test_server::{Answer, Request, TestServer};
use super::*;
use crate::settings::Environment;

pub(super) const WHEEL: &str = "foo-1.0-py3-none-any.whl";
pub(super) const METADATA: &[u8] =
    b"Metadata-Version: 2.1\nName: foo\nVersion: 1.0\nRequires-Dist: numpy>=1.20\n\nprose\n";

/// A wheel with METADATA at its end and `padding` bytes before.
pub(super) fn wheel_bytes(padding: usize) -> Vec<u8> {
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let filler = vec![7; padding];
    wheel_archive::tests::archive(&[("foo/data", &filler), ("foo-1.0.dist-info/METADATA", METADATA)], stored)
}

/// A page with the one wheel.
pub(super) fn page(bytes: Option<&[u8]>, more: &str) -> String {
    let hashes = bytes.map(|bytes| format!(r#""sha256": "{}""#, Digest::of(bytes).hex())).unwrap_or_default();
    let size = bytes.map(|bytes| format!(r#", "size": {}"#, bytes.len())).unwrap_or_default();
    format!(
        r#"{{"meta": {{"api-version": "1.1"}}, "files": [{{"filename": "{WHEEL}", "url": "/files/{WHEEL}",
            "hashes": {{{hashes}}}{size}{more}}}]}}"#
    )
}

pub(super) struct World {
    pub(super) server: TestServer,
    pub(super) cache: tempfile::TempDir,
}

impl World {
    pub(super) fn new(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self { server: TestServer::start(script), cache: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A client with empty memory over the world's cache.
    pub(super) fn client(&self, offline: bool) -> IndexClient {
        let environment = Environment { root: self.cache.path().to_owned(), ..Environment::default() };
        let mut settings = Settings::load(&environment).expect("settings");
        let mut url = self.server.url("/simple/");
        url.set_username("ann").expect("a user");
        url.set_password(Some("s3cret")).expect("a password");
        settings.with_extra("test", &url).expect("added");
        let http = http::Client::new(&http::Options { offline, ..http::Options::default() }).expect("a client");
        IndexClient::new(http, Store::open(self.cache.path()), Arc::new(settings))
    }

    /// A client that does not wait long.
    pub(super) fn impatient(&self) -> IndexClient {
        let mut client = self.client(false);
        if let Some(inner) = Arc::get_mut(&mut client.inner) {
            inner.patience = Duration::from_millis(200);
        }
        client
    }

    pub(super) fn online(&self) -> IndexClient {
        self.client(false)
    }

    pub(super) fn file(&self) -> (IndexClient, ProjectFile) {
        let client = self.online();
        let project = client.project("test", "foo").expect("an answer").expect("a project");
        (client, project.files[0].clone())
    }
}

pub(super) fn locked(bytes: &[u8]) -> LockedWheel {
    LockedWheel {
        name: "foo".into(),
        version: "1.0".into(),
        url: None,
        index: "test".into(),
        file: WHEEL.into(),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
    }
}

#[test]
fn pages_are_json_or_html_by_their_type_and_fetched_once() {
    let world = World::new(|request| match request.path.as_str() {
        "/simple/foo-bar/" => {
            Answer::json(r#"{"files": [{"filename": "foo_bar-1.tar.gz", "url": "x/foo_bar-1.tar.gz"}]}"#)
        }
        "/simple/html/" => Answer::typed("text/html; charset=utf-8", "<a href='html-2.tar.gz'>html-2.tar.gz</a>"),
        "/simple/text/" => Answer::typed("text/plain", "no"),
        "/simple/broken/" => Answer::json("{"),
        _ => Answer::new(404, "no"),
    });
    let client = world.online();
    let json = client.project("test", "Foo_.Bar").expect("an answer").expect("a project");
    assert_eq!(json.name, "foo-bar");
    assert_eq!(json.files[0].url, world.server.url("/simple/foo-bar/x/foo_bar-1.tar.gz"));
    let html = client.project("test", "html").expect("an answer").expect("a project");
    assert_eq!(html.files[0].filename, "html-2.tar.gz");
    assert!(client.project("test", "absent").expect("an answer").is_none());
    assert!(Arc::ptr_eq(&json, &client.project("test", "foo-bar").expect("an answer").expect("a project")));
    let error = client.project("test", "text").expect_err("no page").to_string();
    assert_eq!(
        error,
        format!(
            "the page of `text` on the index `test` has the type `text/plain`, which is no page of the simple API ({})",
            world.server.url("/simple/text/")
        )
    );
    assert!(matches!(client.project("test", "broken"), Err(Error::Page { source: packaging::Error::Json { .. }, .. })));
    assert!(matches!(client.project("nowhere", "foo"), Err(Error::UnknownIndex { .. })));
    let requests = world.server.requests();
    assert_eq!(requests.len(), 5);
    assert!(requests[0].header("accept").starts_with("application/vnd.pypi.simple.v1+json, "));
    assert_eq!(requests[0].header("authorization"), "Basic YW5uOnMzY3JldA==");
}

#[test]
fn a_kept_page_is_used_while_fresh_then_confirmed_and_serves_offline() {
    let world = World::new(|request| match (request.path.as_str(), request.header("if-none-match")) {
        ("/simple/fresh/", _) => Answer::json(r#"{"files": []}"#).header("Cache-Control", "max-age=600, public"),
        ("/simple/secret/", _) => Answer::json(r#"{"files": []}"#).header("Cache-Control", "no-store"),
        (_, "\"v1\"") => Answer::new(304, "").header("Cache-Control", "max-age=600"),
        _ => Answer::json(r#"{"files": []}"#).header("ETag", "\"v1\"").header("Cache-Control", "max-age=0"),
    });
    let ask = |client: &IndexClient, name: &str| client.project("test", name).map(|page| page.is_some());
    for name in ["fresh", "stale", "secret"] {
        assert!(ask(&world.online(), name).expect("an answer"));
        assert!(ask(&world.online(), name).expect("an answer"));
    }
    // The confirmation made the stale page fresh.
    assert!(ask(&world.online(), "stale").expect("an answer"));
    assert_eq!(
        world.server.paths(),
        ["/simple/fresh/", "/simple/stale/", "/simple/stale/", "/simple/secret/", "/simple/secret/"]
    );
    let offline = world.client(true);
    assert!(ask(&offline, "stale").expect("an answer"));
    let error = ask(&offline, "secret").expect_err("not kept").to_string();
    let url = world.server.url("/simple/secret/");
    assert_eq!(
        error,
        format!(
            "cannot get the page of `secret` from the index `test`: {url} is not in the cache, and `--offline` forbids fetching it"
        )
    );
}

#[test]
fn a_server_that_fails_once_or_breaks_off_is_asked_again() {
    let count = AtomicUsize::new(0);
    let world = World::new(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::new(500, "oh"),
        1 => Answer::json(r#"{"files": []}"#).cut(5),
        _ => Answer::json(r#"{"files": []}"#),
    });
    assert!(world.online().project("test", "foo").expect("an answer").is_some());
    assert_eq!(world.server.paths().len(), 3);
}

#[test]
fn prefetched_pages_and_metadata_are_not_fetched_again() {
    let bytes = wheel_bytes(10);
    let world = World::new(move |request| match request.path.as_str() {
        "/simple/foo/" => Answer::json(page(Some(&bytes), "")),
        "/files/foo-1.0-py3-none-any.whl.metadata" => Answer::new(200, METADATA),
        _ => Answer::new(404, ""),
    });
    let client = world.online();
    client.prefetch_likely("test", "Foo", Box::new(|project| project.files.first().cloned()));
    client.prefetch([("test".to_owned(), "absent".to_owned())]);
    let metadata_came = || world.server.paths().iter().any(|path| path.ends_with(".metadata"));
    while !metadata_came() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let project = client.project("test", "foo").expect("an answer").expect("a project");
    assert!(client.project("test", "absent").expect("an answer").is_none());
    assert_eq!(client.metadata("test", &project.files[0]).expect("METADATA").requires_dist.len(), 1);
    assert_eq!(world.server.paths().len(), 3, "{:?}", world.server.paths());
}

#[test]
fn advertised_metadata_is_checked_and_kept() {
    let world = World::new(|request| match request.path.as_str() {
        "/simple/foo/" => {
            let more = format!(r#", "core-metadata": {{"sha256": "{}"}}"#, Digest::of(METADATA).hex());
            Answer::json(page(Some(b"x"), &more))
        }
        _ => Answer::new(200, METADATA),
    });
    let (client, mut file) = world.file();
    let metadata = client.metadata("test", &file).expect("METADATA");
    assert_eq!(metadata.requires_dist[0].to_string(), "numpy>=1.20");
    let again = world.client(true).metadata("test", &file).expect("kept METADATA");
    assert_eq!(metadata, again);
    assert_eq!(world.server.paths().len(), 2);
    file.digest = Some(Digest::of(b"another wheel"));
    file.metadata = packaging::MetadataOffer::Advertised { digest: Some(Digest::of(b"other")) };
    assert!(matches!(client.metadata("test", &file), Err(Error::MetadataDigest { .. })));
    file.kind = packaging::FileKind::Sdist;
    assert!(matches!(client.metadata("test", &file), Err(Error::NotAWheel { .. })));
}

#[test]
fn metadata_comes_out_of_the_wheels_end_where_nothing_lies_beside_it() {
    let bytes = wheel_bytes(200_000);
    for with_hash in [true, false] {
        let bytes = bytes.clone();
        let world = World::new(move |request| match request.path.as_str() {
            "/simple/foo/" => Answer::json(page(with_hash.then_some(&bytes), "")),
            path if path.ends_with(".metadata") => Answer::new(404, ""),
            _ => Answer::ranged(request, &bytes),
        });
        let (client, file) = world.file();
        assert_eq!(client.metadata("test", &file).expect("METADATA").requires_dist.len(), 1);
        let requests = world.server.requests();
        assert_eq!(requests.len(), 3, "{:?}", world.server.paths());
        let size = wheel_bytes(200_000).len();
        let expected = if with_hash { format!("bytes={}-{}", size - 67_600, size - 1) } else { "bytes=-67600".into() };
        assert_eq!(requests[2].header("range"), expected);
        // The host is not asked a second time for what it does not have.
        let other = ProjectFile { digest: Some(Digest::of(b"another")), ..file };
        client.metadata("test", &other).expect("METADATA");
        assert_eq!(world.server.paths().len(), 4);
    }
}

#[test]
fn a_directory_longer_than_the_end_is_read_by_a_second_range() {
    let names: Vec<String> = (0..2000).map(|at| format!("foo/a-rather-long-name-of-a-file-{at}")).collect();
    let mut members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    members.push(("foo-1.0.dist-info/METADATA", METADATA));
    let bytes = wheel_archive::tests::archive(&members, zip::write::SimpleFileOptions::default());
    let world = World::new(move |request| match request.path.as_str() {
        "/simple/foo/" => Answer::json(page(Some(&bytes), "")),
        path if path.ends_with(".metadata") => Answer::typed("text/html", "<html>a page for people</html>"),
        _ => Answer::ranged(request, &bytes),
    });
    let (client, file) = world.file();
    assert_eq!(client.metadata("test", &file).expect("METADATA").requires_dist.len(), 1);
    assert_eq!(world.server.paths().len(), 5);
}

#[test]
fn a_server_without_ranges_gives_the_whole_wheel_once() {
    let bytes = wheel_bytes(100_000);
    for with_hash in [true, false] {
        let bytes = bytes.clone();
        let wheel = locked(&bytes);
        let world = World::new(move |request| match request.path.as_str() {
            "/simple/foo/" => Answer::json(page(with_hash.then_some(&bytes), "")),
            path if path.ends_with(".metadata") => Answer::new(404, ""),
            _ => Answer::new(200, bytes.as_slice()),
        });
        let (client, file) = world.file();
        assert_eq!(client.metadata("test", &file).expect("METADATA").requires_dist.len(), 1);
        let before = world.server.paths().len();
        client.download(&wheel, &|_| {}).expect("downloaded");
        assert_eq!(world.server.paths().len() - before, usize::from(!with_hash));
    }
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let bytes = wheel_bytes(500_000);
    for knows_ranges in [true, false] {
        let (content, count) = (bytes.clone(), AtomicUsize::new(0));
        let world = World::new(move |request| match request.path.as_str() {
            "/simple/foo/" => Answer::json(page(Some(&content), "")),
            _ if !knows_ranges && count.fetch_add(1, Ordering::Relaxed) > 0 => Answer::new(200, content.as_slice()),
            _ => Answer::ranged(request, &content).header("ETag", "\"v1\"").cut(300_000),
        });
        let counted = std::cell::Cell::new(0);
        let client = world.online();
        let path = client.download(&locked(&bytes), &|count| counted.set(counted.get() + count)).expect("downloaded");
        assert_eq!(std::fs::read(path).expect("stored"), bytes);
        assert_eq!(counted.get(), bytes.len() as u64);
        let requests = world.server.requests();
        assert_eq!(requests.len(), 3, "{:?}", world.server.paths());
        assert!(requests[2].header("range").starts_with("bytes="), "{requests:?}");
        assert_eq!(requests[2].header("if-range"), "\"v1\"");
        // From now on the store has it.
        world.client(true).download(&locked(&bytes), &|_| {}).expect("in the store");
    }
}

#[test]
fn other_bytes_are_refused_before_and_after_the_download() {
    let bytes = wheel_bytes(10);
    let other = wheel_bytes(11);
    let (content, listed) = (other.clone(), bytes.clone());
    let world = World::new(move |request| match request.path.as_str() {
        "/simple/foo/" => Answer::json(page(Some(&listed), "")),
        _ => Answer::new(200, content.as_slice()),
    });
    let client = world.online();
    let error = client.download(&locked(&other), &|_| {}).expect_err("another file is listed");
    assert_eq!(
        error.to_string(),
        format!("the index `test` has another `{WHEEL}`: {}, expected {}", Digest::of(&bytes), Digest::of(&other))
    );
    let Err(Error::Store { source, .. }) = client.download(&locked(&bytes), &|_| {}) else {
        panic!("other bytes came")
    };
    assert!(matches!(*source, store::Error::WrongSize { expected, .. } if expected == bytes.len() as u64), "{source}");
    let absent = LockedWheel { file: "foo-9-py3-none-any.whl".into(), ..locked(b"absent") };
    assert!(matches!(client.download(&absent, &|_| {}), Err(Error::NoFile { .. })));
}

#[test]
fn many_wheels_come_in_the_order_they_were_asked_for() {
    let contents: Vec<Vec<u8>> = (0..9).map(wheel_bytes).collect();
    let wheels: Vec<LockedWheel> = (contents.iter().enumerate())
        .map(|(at, bytes)| LockedWheel { file: format!("foo-{at}-py3-none-any.whl"), ..locked(bytes) })
        .collect();
    let served = contents.clone();
    let world = World::new(move |request| match request.path.as_str() {
        "/simple/foo/" => {
            let anchors = (0..9).map(|at| format!("<a href='/files/foo-{at}-py3-none-any.whl'>x</a>"));
            Answer::typed("text/html", anchors.collect::<String>())
        }
        path => {
            let at = path.trim_start_matches("/files/foo-").split('-').next().and_then(|at| at.parse::<usize>().ok());
            at.and_then(|at| served.get(at))
                .map_or_else(|| Answer::new(404, ""), |bytes| Answer::new(200, bytes.as_slice()))
        }
    });
    let client = world.online();
    let asked: Vec<&LockedWheel> = wheels.iter().chain([&wheels[3]]).collect();
    let paths = client.download_all(&asked, &Progress::hidden()).expect("downloaded");
    let found: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("stored")).collect();
    assert_eq!(found[..9], contents[..]);
    assert_eq!(found[9], contents[3]);
    assert_eq!(world.server.paths().len(), 10);
}
