//! Indexes that misbehave: each must be asked again or be named, and must leave nothing in the cache that a later run
//! would believe.

mod wheels;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::flight::lock;
use super::test_server::{Answer, Request, TestServer};
use super::tests::{METADATA, WHEEL, World, locked, page, wheel_bytes};
use super::*;
use crate::packaging::MetadataOffer;

const EMPTY_PAGE: &str = r#"{"files": []}"#;

/// Answers the first requests with `first`, one after the other, and later ones with `then`.
fn in_turn(first: Vec<Answer>, then: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> World {
    let first = Mutex::new(first.into_iter());
    World::new(move |request| lock(&first).next().unwrap_or_else(|| then(request)))
}

/// The error of asking for `foo`, which must not make the cache answer a later question.
fn refusal(world: &World) -> String {
    let error = world.impatient().project("test", "foo").expect_err("a refusal");
    assert!(!kept_anything(world), "{error}");
    error.to_string()
}

fn kept_anything(world: &World) -> bool {
    world.client(true).project("test", "foo").is_ok()
}

#[test]
fn answers_that_stall_break_off_or_fail_are_asked_for_again() {
    let page = || Answer::json(r#"{"files": [{"filename": "foo-1.tar.gz", "url": "x"}]}"#);
    for first in [
        vec![Answer::silent(), Answer::silent()],
        vec![page().stalled(20)],
        vec![page().cut(20)],
        vec![page().cut_chunks(20), page().cut_chunks(20)],
        vec![Answer::new(503, ""), Answer::new(502, "")],
        vec![Answer::new(429, "").header("Retry-After", "0"), Answer::new(429, "").header("Retry-After", "0")],
    ] {
        let expected = first.len() + 1;
        let world = in_turn(first, move |_| page());
        let project = world.impatient().project("test", "foo").expect("an answer").expect("a project");
        assert_eq!(project.files.len(), 1);
        assert_eq!(world.server.paths().len(), expected);
        assert!(kept_anything(&world));
    }
}

#[test]
fn a_server_that_says_when_is_asked_then() {
    let world = in_turn(vec![Answer::new(429, "").header("Retry-After", "1")], |_| Answer::json(EMPTY_PAGE));
    let started = Instant::now();
    assert!(world.online().project("test", "foo").is_ok());
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
}

#[test]
fn a_server_that_never_answers_well_is_named() {
    let world = World::new(|_| Answer::new(503, "busy").header("Retry-After", "0"));
    let url = world.server.url("/simple/foo/");
    assert_eq!(
        refusal(&world),
        format!(
            "cannot get the page of `foo` from the index `test`: GET {url}: the server answered 503 Service Unavailable"
        )
    );
    assert_eq!(world.server.paths().len(), http::ATTEMPTS as usize);

    let world = World::new(|_| Answer::json(EMPTY_PAGE).cut(5));
    let url = world.server.url("/simple/foo/");
    let text = refusal(&world);
    let expected = format!("cannot get the page of `foo` from the index `test`: GET {url}: the answer broke off: ");
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn redirects_are_followed_but_not_in_a_circle() {
    let world = World::new(|request| match request.path.as_str() {
        "/simple/foo/" => Answer::redirect("/simple/bar/"),
        _ => Answer::redirect("/simple/foo/"),
    });
    let text = refusal(&world);
    assert!(text.ends_with("/simple/foo/: too many redirects"), "{text}");
    assert_eq!(world.server.paths().len(), 11);
}

#[test]
fn credentials_stay_with_the_host_they_are_for() {
    let other = Arc::new(TestServer::start(|request| match request.path.as_str() {
        "/elsewhere/foo/" => Answer::json(page(Some(&wheel_bytes(10)), "")),
        _ => Answer::new(200, METADATA),
    }));
    let target = other.url("/elsewhere/foo/").to_string();
    let world = World::new(move |_| Answer::redirect(&target));
    let (client, file) = world.file();
    // Relative addresses start where the page was in the end.
    assert_eq!(file.url, other.url(&format!("/files/{WHEEL}")));
    client.metadata("test", &file).expect("METADATA");
    assert_eq!(world.server.requests()[0].header("authorization"), "Basic YW5uOnMzY3JldA==");
    assert_eq!(other.requests().iter().map(|request| request.header("authorization")).collect::<Vec<_>>(), ["", ""]);
}

#[test]
fn pages_that_are_none_are_named_and_not_kept() {
    let html = |text: &str| Answer::typed("text/html", text);
    let login = "<html><title>Sign in</title><form method=post><input type=password></form></html>";
    let gzipped = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\x4a\xcb\xcc";
    let deep = "[".repeat(100_000);
    type Script = Box<dyn Fn() -> Answer + Send + Sync>;
    let cases: Vec<(Script, &str)> = vec![
        (Box::new(move || html(login)), "is not one of a package index: it is a form for people, such as a login page"),
        (
            Box::new(move || html("<html><a href='/help'>Help</a></html>")),
            "is not one of a package index: none of its links leads to a distribution",
        ),
        (
            Box::new(move || html("<html><div id=app></div></html>")),
            "is not one of a package index: it has no links, and does not say whose page it is",
        ),
        (Box::new(move || html("")), "cannot be read: the page is not HTML: it has no tag"),
        (Box::new(move || html("moved to another place")), "cannot be read: the page is not HTML: it has no tag"),
        (
            Box::new(|| Answer::json(r#"{"files": [{"filename": "bar-1-py3-none-any.whl", "url": "x"}]}"#)),
            "is not one of a package index: it lists the files of `bar`",
        ),
        (Box::new(|| Answer::json("")), "the page is not JSON of the simple API: EOF while parsing"),
        (Box::new(|| Answer::json(r#"{"files": [{"fil"#)), "the page is not JSON of the simple API: EOF while parsing"),
        (
            Box::new(|| Answer::json(r#"{"message": "welcome"}"#)),
            "the page is not JSON of the simple API: missing field",
        ),
        (Box::new(move || Answer::json(deep.as_str())), "the page is not JSON of the simple API: "),
        (Box::new(|| Answer::json(b"{\"files\": [{\"filename\": \"\xff\"}]}".as_slice())), "the page is not JSON"),
        (Box::new(|| Answer::json(gzipped.as_slice())), "the page is not JSON of the simple API: expected value"),
        (Box::new(|| Answer::typed("application/pdf", "%PDF")), "has the type `application/pdf`"),
        (Box::new(|| Answer::json(EMPTY_PAGE).header("Content-Encoding", "gzip")), "broke off"),
    ];
    for (answer, expected) in cases {
        let world = World::new(move |_| answer());
        let text = refusal(&world);
        assert!(text.contains(expected), "{text}\nlacks: {expected}");
        assert!(text.contains("`foo`") && text.contains("the index `test`"), "{text}");
        assert!(text.contains(world.server.url("/simple/foo/").as_str()), "{text}");
    }
}

#[test]
fn a_page_longer_than_any_real_one_is_not_read() {
    let world = World::new(|_| Answer::json(EMPTY_PAGE).header("Content-Length", "999999999999"));
    let text = refusal(&world);
    assert!(text.ends_with("the answer is longer than 268435456 bytes"), "{text}");
    assert_eq!(world.server.paths().len(), 1);
}

#[test]
fn packed_pages_and_names_in_other_spellings_are_read() {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed
        .write_all(br#"{"name": "FOO", "files": [{"filename": "FOO-1.0-py3-none-any.whl", "url": "x"}]}"#)
        .expect("packed");
    let packed = packed.finish().expect("packed");
    let world = World::new(move |_| Answer::json(packed.as_slice()).header("Content-Encoding", "gzip"));
    for client in [world.online(), world.client(true)] {
        let project = client.project("test", "Foo").expect("an answer").expect("a project");
        assert!(project.files[0].wheel().is_some(), "{project:?}");
    }
}

#[test]
fn a_damaged_cache_entry_is_fetched_again() {
    let world = World::new(|_| Answer::json(EMPTY_PAGE));
    assert!(world.online().project("test", "foo").is_ok());
    let mut files = Vec::new();
    collect(&world.cache.path().join("facts"), &mut files);
    let [file] = files.as_slice() else { panic!("one entry: {files:?}") };
    let bytes = std::fs::read(file).expect("the entry");
    let mut changed = bytes.clone();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    for damage in [&bytes[..bytes.len() - 1], &changed, b"", b"\xff\xfe"] {
        std::fs::write(file, damage).expect("damaged");
        assert!(!kept_anything(&world));
        assert!(world.online().project("test", "foo").is_ok());
        assert_eq!(std::fs::read(file).expect("the entry").len(), bytes.len());
    }
    assert_eq!(world.server.paths().len(), 5);
}

#[test]
fn damaged_metadata_in_the_cache_is_fetched_again() {
    let bytes = wheel_bytes(10);
    let world = world_of(&bytes, |_| Answer::new(200, METADATA), |_| Answer::new(404, ""));
    let (client, file) = world.file();
    let metadata = client.metadata("test", &file).expect("METADATA");
    let mut files = Vec::new();
    collect(&world.cache.path().join("facts/wheel-metadata"), &mut files);
    let [kept] = files.as_slice() else { panic!("one entry: {files:?}") };
    let text = std::fs::read(kept).expect("the entry");
    let at = text.windows(4).position(|window| window == b"1.20").expect("the requirement");
    let changed = [&text[..at], b"1.26", &text[at + 4..]].concat();
    for damage in [changed.as_slice(), &text[..text.len() - 1], b""] {
        std::fs::write(kept, damage).expect("damaged");
        assert!(world.client(true).metadata("test", &file).is_err());
        assert_eq!(world.online().metadata("test", &file).expect("METADATA"), metadata);
        assert_eq!(world.client(true).metadata("test", &file).expect("METADATA"), metadata);
    }
}

fn collect(folder: &std::path::Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

#[test]
fn pages_and_metadata_need_no_cache_that_can_be_written() {
    let bytes = wheel_bytes(10);
    let wheel = locked(&bytes);
    let world = World::new(move |request| match request.path.as_str() {
        "/simple/foo/" => Answer::json(page(Some(&bytes), "")),
        path if path.ends_with(".metadata") => Answer::new(200, METADATA),
        _ => Answer::new(200, bytes.as_slice()),
    });
    // A file in the folders' place serves also where the tests run as root, who may write everywhere.
    for folder in ["facts", "tmp", "blobs"] {
        std::fs::write(world.cache.path().join(folder), "").expect("a file in its place");
    }
    let (client, file) = world.file();
    assert_eq!(client.metadata("test", &file).expect("METADATA").requires_dist.len(), 1);
    let error = client.download(&wheel, &|_| {}).expect_err("wheels are kept or not had");
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot store `{WHEEL}` of the index `test`: create `")), "{text}");
}

/// A page with the one wheel, METADATA advertised, and what the given functions answer for the two.
fn world_of(
    bytes: &[u8],
    metadata: impl Fn(usize) -> Answer + Send + Sync + 'static,
    wheel: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> World {
    let text = page(Some(bytes), &format!(r#", "core-metadata": {{"sha256": "{}"}}"#, Digest::of(METADATA).hex()));
    let count = AtomicUsize::new(0);
    World::new(move |request| match request.path.as_str() {
        "/simple/foo/" => Answer::json(text.as_str()),
        path if path.ends_with(".metadata") => metadata(count.fetch_add(1, Ordering::Relaxed)),
        _ => wheel(request),
    })
}

#[test]
fn metadata_with_another_hash_or_name_is_refused_and_not_kept() {
    let bytes = wheel_bytes(10);
    let world = world_of(&bytes, |_| Answer::new(200, "Name: foo\nVersion: 1.0\n"), |_| Answer::new(404, ""));
    let (client, mut file) = world.file();
    let error = client.metadata("test", &file).expect_err("other bytes");
    let found = Digest::of(b"Name: foo\nVersion: 1.0\n");
    assert_eq!(
        error.to_string(),
        format!("METADATA of `{WHEEL}` on the index `test` is {found}, and the page says {}", Digest::of(METADATA))
    );
    assert!(world.client(true).metadata("test", &file).is_err());

    for (text, expected) in [
        ("Name: bar\nVersion: 1.0\n", "is that of `bar 1.0`"),
        ("Name: foo\nVersion: 2.0\n", "is that of `foo 2.0`"),
        ("Version: 1.0\n", "cannot be read: METADATA has no field `Name`"),
        ("<html>", "cannot be read: METADATA has no field `Name`"),
    ] {
        let world = world_of(&bytes, move |_| Answer::new(200, text), |_| Answer::new(404, ""));
        let client = world.online();
        file.url = world.server.url(&format!("/files/{WHEEL}"));
        file.metadata = MetadataOffer::Advertised { digest: None };
        let error = client.metadata("test", &file).expect_err("other METADATA").to_string();
        assert!(error.ends_with(expected), "{error}");
        assert!(world.client(true).metadata("test", &file).is_err());
    }
}

#[test]
fn metadata_that_breaks_off_is_asked_for_again_and_a_missing_one_read_from_the_wheel() {
    let bytes = wheel_bytes(100_000);
    let served = bytes.clone();
    let again = world_of(
        &bytes,
        |count| if count == 0 { Answer::new(200, METADATA).cut(10) } else { Answer::new(200, METADATA) },
        |_| Answer::new(404, ""),
    );
    let missing = world_of(&bytes, |_| Answer::new(404, ""), move |request| Answer::ranged(request, &served));
    for (world, expected) in [(again, 3), (missing, 3)] {
        let (client, file) = world.file();
        assert_eq!(client.metadata("test", &file).expect("METADATA").requires_dist.len(), 1);
        assert_eq!(world.server.paths().len(), expected, "{:?}", world.server.paths());
    }
}
