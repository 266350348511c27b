//! Servers that answer badly for a wheel: ranges, bodies that break off, other bytes.

use super::*;

#[test]
fn ranges_that_are_not_what_was_asked_for_are_not_believed() {
    let bytes = wheel_bytes(100_000);
    let range = |text: &'static str| {
        let bytes = bytes.clone();
        move |request: &Request| match request.header("range") {
            "" => Answer::new(200, bytes.as_slice()),
            _ => Answer::new(206, &bytes[..1000]).header("Content-Range", text),
        }
    };
    for lie in
        ["bytes 0-999/1000", "bytes 5-3/1000", "bytes 0-18446744073709551615/*", "pages 1-2/3", "bytes 0-999/100512"]
    {
        let world = world_of(&bytes, |_| Answer::new(404, ""), range(lie));
        let (client, file) = world.file();
        let metadata = client.metadata("test", &file);
        match metadata {
            Ok(metadata) => assert_eq!(metadata.requires_dist.len(), 1, "{lie}"),
            Err(error) => assert!(matches!(error, Error::Archive { .. }), "{lie}: {error}"),
        }
    }
}

/// A wheel whose directory is longer than the end that is read first.
fn wide_wheel() -> Vec<u8> {
    let names: Vec<String> = (0..2000).map(|at| format!("foo/a-rather-long-name-of-a-file-{at}")).collect();
    let mut members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    members.push(("foo-1.0.dist-info/METADATA", METADATA));
    wheel_archive::tests::archive(&members, zip::write::SimpleFileOptions::default())
}

#[test]
fn a_second_range_that_is_answered_badly_is_asked_for_again() {
    let bytes = wide_wheel();
    type Script = Box<dyn Fn(&Request, &[u8]) -> Answer + Send + Sync>;
    let cases: Vec<Script> = vec![
        Box::new(|_, bytes| Answer::new(200, bytes)),
        Box::new(|_, bytes| {
            Answer::new(206, &bytes[..9]).header("Content-Range", &format!("bytes 0-8/{}", bytes.len()))
        }),
        Box::new(|_, _| Answer::new(404, "")),
        Box::new(|request, bytes| Answer::ranged(request, bytes).cut(1000)),
    ];
    for badly in cases {
        let (served, count) = (bytes.clone(), AtomicUsize::new(0));
        let world = world_of(
            &bytes,
            |_| Answer::new(404, ""),
            move |request| match count.fetch_add(1, Ordering::Relaxed) {
                1 => badly(request, &served),
                _ => Answer::ranged(request, &served),
            },
        );
        let (client, file) = world.file();
        assert_eq!(client.metadata("test", &file).expect("METADATA").requires_dist.len(), 1);
        // The page, no METADATA beside it, the end, the directory twice, METADATA.
        assert_eq!(world.server.paths().len(), 6, "{:?}", world.server.requests());
        assert!(world.server.requests().iter().skip(2).all(|request| !request.header("range").is_empty()));
    }
}

#[test]
fn an_end_that_breaks_off_is_asked_for_again() {
    let (bytes, count) = (wheel_bytes(100_000), AtomicUsize::new(0));
    let served = bytes.clone();
    let world = world_of(
        &bytes,
        |_| Answer::new(404, ""),
        move |request| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::ranged(request, &served).cut(1000),
            _ => Answer::ranged(request, &served),
        },
    );
    let (client, file) = world.file();
    assert_eq!(client.metadata("test", &file).expect("METADATA").requires_dist.len(), 1);
    assert_eq!(world.server.paths().len(), 4, "{:?}", world.server.paths());
}

#[test]
fn where_a_server_stops_to_answer_ranges_the_whole_wheel_is_read() {
    let (bytes, count) = (wide_wheel(), AtomicUsize::new(0));
    let served = bytes.clone();
    let world = world_of(
        &bytes,
        |_| Answer::new(404, ""),
        move |request| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::ranged(request, &served),
            _ => Answer::new(200, served.as_slice()),
        },
    );
    let (client, file) = world.file();
    assert_eq!(client.metadata("test", &file).expect("METADATA").requires_dist.len(), 1);
    assert!(Store::open(world.cache.path()).blob(&Digest::of(&bytes)).is_some(), "the wheel is kept");
}

/// Pieces of two files would make a third one, which nobody published.
#[test]
fn a_wheel_without_a_hash_goes_on_only_where_it_is_known_to_be_the_same() {
    let (old, new) = (wheel_bytes(300_000), wheel_bytes(299_999));
    // What the server says of the file at each request, and whether the second one asks for the rest.
    let cases = [
        (["\"v1\"", "\"v1\""], true),
        (["", ""], false),
        (["\"v1\"", "\"v2\""], true),
        (["W/\"v1\"", "\"v1\""], false),
    ];
    for (tags, resumes) in cases {
        let (first, then, count) = (old.clone(), new.clone(), AtomicUsize::new(0));
        let is_same = tags == ["\"v1\"", "\"v1\""];
        let world = World::new(move |request| match request.path.as_str() {
            "/simple/foo/" => Answer::json(page(None, "")),
            _ => match count.fetch_add(1, Ordering::Relaxed) {
                0 => Answer::new(200, first.as_slice()).header("ETag", tags[0]).cut(100_000),
                _ if is_same => Answer::ranged(request, &first).header("ETag", tags[1]),
                _ => Answer::new(200, then.as_slice()).header("ETag", tags[1]),
            },
        });
        let (client, file) = world.file();
        let (digest, size) = client.identify("test", &file).expect("a whole file");
        let expected = if is_same { &old } else { &new };
        assert_eq!((digest, size), (Digest::of(expected), expected.len() as u64), "{tags:?}");
        let requests = world.server.requests();
        assert_eq!(!requests[2].header("range").is_empty(), resumes, "{tags:?}");
        assert_eq!(requests.len(), if tags[1] == "\"v2\"" { 4 } else { 3 }, "{tags:?}");
    }
}

#[test]
fn a_wheel_with_other_bytes_is_refused_and_leaves_nothing() {
    let (bytes, mut other) = (wheel_bytes(1000), wheel_bytes(1000));
    other[100] ^= 1;
    let world = world_of(&bytes, |_| Answer::new(404, ""), move |_| Answer::new(200, other.as_slice()));
    let client = world.online();
    let Err(Error::Store { source, .. }) = client.download(&locked(&bytes), &|_| {}) else {
        panic!("other bytes came")
    };
    assert!(matches!(*source, store::Error::WrongDigest { .. }), "{source}");
    let (_, file) = world.file();
    assert!(client.metadata("test", &file).is_err(), "METADATA of other bytes");
    let left = std::fs::read_dir(world.cache.path().join("tmp")).expect("the folder").count();
    assert_eq!(left, 0);
    assert!(Store::open(world.cache.path()).blob(&Digest::of(&bytes)).is_none());
}
