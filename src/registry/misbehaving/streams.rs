//! Blobs that are sent while they are made: each attempt ends with the blob in place, or with an error and the registry open
//! for the same bytes from a file.

use super::*;

/// Writes `bytes` in pieces as a layer is written; the address is that of all of them.
fn stream(registries: &Registries, target: &Reference, bytes: &[u8]) -> Result<(), Error> {
    let mut blob = registries.stream_blob(target, Meter::new(|_| {}))?;
    for piece in bytes.chunks(100_000) {
        if blob.write_all(piece).is_err() {
            break;
        }
    }
    blob.finish(&Digest::of(bytes))
}

/// A failure, after which the same bytes arrive from a file.
#[track_caller]
fn fails_and_may_be_sent(faults: Vec<(&'static str, Fault)>, bytes: &[u8]) -> String {
    let server = Server::start(world_with(faults));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    let error = stream(&registries, &target, bytes).expect_err("a failure");
    assert!(server.world().blobs.is_empty());
    assert_eq!(push(&registries, &target, bytes, &[]).expect("sent from a file"), BlobOutcome::Sent);
    error.to_string()
}

#[test]
fn a_blob_is_sent_before_its_digest_is_known() {
    let server = Server::start(World::default());
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    let bytes = large();
    stream(&registries, &target, &bytes).expect("sent");
    let (digest, length) = (Digest::of(&bytes), bytes.len());
    assert_eq!(server.world().blobs.get(&digest.to_string()), Some(&bytes));
    assert_eq!(
        server.log(),
        [
            "POST /v2/a/blobs/uploads/".to_owned(),
            "PATCH /v2/a/blobs/uploads/1?_state=0".to_owned(),
            format!("PUT /v2/a/blobs/uploads/1?_state={length}&digest={digest}"),
        ]
    );
}

#[test]
fn a_token_comes_along() {
    let server = Server::start(World { tokens: Some(0), ..World::default() });
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    stream(&registries, &target, b"content").expect("sent");
    assert!(server.log().iter().any(|line| line == "PATCH /v2/a/blobs/uploads/1?_state=0 [Bearer t1]"));
}

#[test]
fn a_registry_may_refuse_a_body_without_a_length() {
    for status in [400, 401, 405, 411, 413, 501] {
        let error = fails_and_may_be_sent(vec![("PATCH", Fault::Answer(status, vec![], ""))], &large());
        assert!(error.contains(&status.to_string()), "{error}");
    }
}

#[test]
fn a_connection_may_break() {
    fails_and_may_be_sent(vec![("PATCH", Fault::CutAfter(1_000))], &large());
}

#[test]
fn bytes_that_did_not_arrive_are_noticed() {
    let range = vec![("range", "0-99".to_owned())];
    let error = fails_and_may_be_sent(vec![("PATCH", Fault::Answer(202, range, ""))], &large());
    assert!(error.contains("it has 100 of 12000000 bytes"), "{error}");
}

#[test]
fn a_page_for_people_is_no_blob() {
    let html = || vec![("content-type", "text/html; charset=utf-8".to_owned())];
    fails_and_may_be_sent(vec![("PATCH", Fault::Answer(200, html(), "<p>Sign in"))], b"content");
    fails_and_may_be_sent(vec![("PUT", Fault::Answer(200, html(), "<p>Sign in"))], b"content");
}

#[test]
fn another_digest_is_noticed() {
    let other = || vec![("docker-content-digest", Digest::of(b"other").to_string())];
    let error = fails_and_may_be_sent(vec![("PUT", Fault::Answer(201, other(), ""))], b"content");
    assert!(error.contains(&Digest::of(b"other").to_string()), "{error}");
}

#[test]
fn the_last_request_may_fail_for_a_moment() {
    let server = Server::start(world_with(vec![("PUT", Fault::Answer(503, vec![], ""))]));
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    stream(&registries, &target, b"content").expect("sent");
    assert_eq!(server.world().blobs.len(), 1);
}

#[test]
fn a_blob_that_nobody_finishes_is_nowhere() {
    let server = Server::start(World::default());
    let (registries, target) = (client(Config::default()), server.reference("a:1"));
    let mut blob = registries.stream_blob(&target, Meter::new(|_| {})).expect("a stream");
    blob.write_all(b"cont").expect("written");
    drop(blob);
    assert!(server.world().blobs.is_empty());
    assert!(!server.log().iter().any(|line| line.starts_with("PUT")));
}
