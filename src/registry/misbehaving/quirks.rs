//! What registries and the things before them are known to do, one test each.

use std::time::{Duration, Instant};

use super::*;

/// A client that has found out how the server is spoken to, so that faults are for what follows.
fn acquainted(server: &Server, config: Config, faults: Vec<(&'static str, Fault)>) -> Registries {
    let registries = client(config);
    registries.has_blob(&server.reference("a:1"), &Digest::of(b"nothing")).expect("an answer");
    let mut world = server.world();
    world.faults = faults;
    world.log.clear();
    drop(world);
    registries
}

fn count(server: &Server, start: &str) -> usize {
    server.log().iter().filter(|line| line.starts_with(start)).count()
}

fn is_stored(server: &Server, bytes: &[u8]) -> bool {
    server.world().blobs.get(&Digest::of(bytes).to_string()).is_some_and(|stored| stored == bytes)
}

fn pieces(bytes: u64) -> Config {
    Config { upload_chunk: Some(bytes), ..Config::default() }
}

fn page() -> Fault {
    Fault::Answer(200, vec![("content-type", "text/html; charset=utf-8".to_owned())], "<html>Log in</html>")
}

#[test]
fn a_registry_that_does_not_answer_head_is_asked_otherwise() {
    let refused = || ("HEAD", Fault::Answer(405, Vec::new(), ""));
    let server = Server::start(World::default());
    let registries = acquainted(&server, Config::default(), vec![refused()]);
    let target = server.reference("a:1");
    assert_eq!(push(&registries, &target, b"content", &[]).expect("sent"), BlobOutcome::Sent);

    server.world().manifests.insert("1".into(), (String::new(), b"{}".to_vec()));
    server.world().faults = vec![refused()];
    assert_eq!(registries.manifest_digest(&target).expect("asked"), Some(Digest::of(b"{}")));
    // An answer without the digest does not say that there is no such tag: an immutable one would be moved.
    assert_eq!(registries.manifest_digest(&target).expect("asked"), Some(Digest::of(b"{}")));
    server.world().faults = vec![refused()];
    assert_eq!(registries.manifest_digest(&server.reference("a:2")).expect("asked"), None);
}

#[test]
fn a_login_page_is_no_answer_whatever_its_status() {
    let server = Server::start(World::default());
    let target = server.reference("a:1");
    let expected = |operation: &str| {
        format!("cannot {operation} `{}/a`: a web page came instead of the registry's answer", target.registry())
    };
    let registries = acquainted(&server, Config::default(), vec![("GET", page())]);
    let error = registries.manifest(&target).expect_err("a page");
    assert_eq!(error.to_string(), expected("read the manifest of"));
    assert!(error.help()[0].contains("whether a proxy before it wants a login"), "{:?}", error.help());

    // A blob would seem to be there, and a manifest or an upload to be taken.
    for (method, operation) in
        [("HEAD", "look for a blob in"), ("POST", "start an upload to"), ("PUT", "upload a blob to")]
    {
        server.world().faults = vec![(method, page())];
        let error = push(&registries, &target, b"content", &[]).expect_err("a page");
        assert_eq!(error.to_string(), expected(operation));
    }
    server.world().faults = vec![("PUT", page())];
    let error = registries.push_manifest(&target, "application/json", b"{}").expect_err("a page");
    assert_eq!(error.to_string(), expected("write the manifest of"));
}

#[test]
fn an_upload_may_be_answered_with_any_status_that_says_yes() {
    for status in [200, 201, 202, 204] {
        let server = Server::start(World::default());
        let begun = vec![("location", "/v2/a/blobs/uploads/1?_state=0".to_owned())];
        let faults = vec![
            ("POST", Fault::Answer(status, begun.clone(), "")),
            // It says that it has the blob and has not: nobody is believed but 201, and the upload starts anew.
            ("PUT", Fault::Answer(if status == 201 { 202 } else { status }, begun, "")),
        ];
        let registries = acquainted(&server, Config::default(), faults);
        assert_eq!(push(&registries, &server.reference("a:1"), b"content", &[]).expect("sent"), BlobOutcome::Sent);
        assert!(is_stored(&server, b"content"), "{status}");
        assert_eq!(count(&server, "PUT"), 2, "{status}");
    }
}

#[test]
fn a_location_may_be_anything_that_leads_there() {
    for location in [
        "1?_state=0",
        "/v2/a/blobs/uploads/1",
        "/v2/a/blobs/uploads/1?x=a%2Fb&digest_state=q",
        "//HOST/v2/a/blobs/uploads/1?_state=0",
        "http://HOST/v2/a/blobs/uploads/1",
    ] {
        let server = Server::start(World::default());
        let location = location.replace("HOST", &server.address.to_string());
        let faults = vec![("POST", Fault::Answer(202, vec![("location", location.clone())], ""))];
        let registries = acquainted(&server, Config::default(), faults);
        push(&registries, &server.reference("a:1"), b"content", &[])
            .unwrap_or_else(|error| panic!("{location}: {error}"));
        assert!(is_stored(&server, b"content"), "{location}");
    }
    for location in [None, Some("ftp://elsewhere.test/"), Some("http://")] {
        let server = Server::start(World::default());
        let headers = location.map(|location| ("location", location.to_owned())).into_iter().collect();
        let registries = acquainted(&server, Config::default(), vec![("POST", Fault::Answer(202, headers, ""))]);
        let error = push(&registries, &server.reference("a:1"), b"content", &[]).expect_err("no way on");
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
}

#[test]
fn pieces_are_no_smaller_than_the_registry_wants() {
    let server = Server::start(World::default());
    let headers =
        vec![("location", "/v2/a/blobs/uploads/1?_state=0".to_owned()), ("oci-chunk-min-length", "6".to_owned())];
    let registries = acquainted(&server, pieces(3), vec![("POST", Fault::Answer(202, headers, ""))]);
    push(&registries, &server.reference("a:1"), b"content", &[]).expect("sent");
    let log = server.log();
    let sent: Vec<&str> = log.iter().filter_map(|line| line.strip_prefix("PATCH ")?.split(' ').nth(1)).collect();
    assert_eq!(sent, ["0-5", "6-6"]);
    assert!(is_stored(&server, b"content"));
}

#[test]
fn a_registry_that_is_out_of_step_is_asked_where_it_is() {
    let out_of_step = Fault::Answer(416, vec![("range", "0-2".to_owned())], "");
    // The last one took its piece, and the answer was lost.
    for second in [out_of_step, Fault::CutAfter(3), Fault::CutAfter(1)] {
        let server = Server::start(World::default());
        let registries = acquainted(&server, pieces(3), vec![("PATCH", Fault::Pass), ("PATCH", second)]);
        assert_eq!(push(&registries, &server.reference("a:1"), b"content", &[]).expect("sent"), BlobOutcome::Sent);
        assert!(is_stored(&server, b"content"), "{:?}", server.log());
        assert_eq!((count(&server, "POST"), count(&server, "GET")), (1, 1), "{:?}", server.log());
    }
}

#[test]
fn an_upload_that_is_cut_anywhere_arrives_whole() {
    let bytes = large();
    std::thread::scope(|scope| {
        for place in [0, 1, 4095, 4_194_304, 11_999_999] {
            let bytes = &bytes;
            scope.spawn(move || {
                let server = Server::start(World::default());
                let faults = vec![("PUT", Fault::CutAfter(place)), ("PATCH", Fault::CutAfter(place / 2))];
                let registries = acquainted(&server, Config::default(), faults);
                push(&registries, &server.reference("a:1"), bytes, &[])
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
                assert!(is_stored(&server, bytes), "{place}");
            });
        }
    });
}

#[test]
fn a_token_that_expires_between_two_pieces_is_renewed() {
    let server = Server::start(World { tokens: Some(0), ..World::default() });
    let registries = acquainted(&server, pieces(3), Vec::new());
    let realm = format!("Bearer realm=\"http://{}/token\"", server.address);
    let expired = Fault::Answer(401, vec![("www-authenticate", realm)], "");
    server.world().faults = vec![("PATCH", Fault::Pass), ("PATCH", expired)];
    assert_eq!(push(&registries, &server.reference("a:1"), b"content", &[]).expect("sent"), BlobOutcome::Sent);
    assert!(is_stored(&server, b"content"));
    let log = server.log();
    let patches: Vec<&String> = log.iter().filter(|line| line.starts_with("PATCH")).collect();
    assert!(patches[1].ends_with(" 3-5 [Bearer t2]") && patches[2].ends_with(" 3-5 [Bearer t3]"), "{patches:?}");
}

#[test]
fn a_wait_that_the_registry_asks_for_is_kept() {
    let after = |text: &str| Fault::Answer(429, vec![("retry-after", text.to_owned())], "");
    let server = Server::start(World::default());
    let registries = acquainted(&server, Config::default(), vec![("POST", after("1")), ("PUT", after("1"))]);
    let started = Instant::now();
    push(&registries, &server.reference("a:1"), b"content", &[]).expect("sent");
    assert!(started.elapsed() >= Duration::from_secs(2));

    // Four waits of our own choice would be four seconds and more; a date that has passed is no wait.
    let server = Server::start(World::default());
    let past = || ("POST", after("Thu, 01 Jan 1970 00:00:00 GMT"));
    let registries = acquainted(&server, Config::default(), vec![past(), past(), past(), past()]);
    let started = Instant::now();
    push(&registries, &server.reference("a:1"), b"other", &[]).expect("sent");
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(count(&server, "POST"), http::ATTEMPTS as usize);
}

#[test]
fn a_redirect_to_another_host_takes_no_token_along() {
    let storage = Server::start(World::default());
    let server = Server::start(World { tokens: Some(0), ..World::default() });
    let (registries, target) = (acquainted(&server, Config::default(), Vec::new()), server.reference("a:1"));
    let elsewhere = |path: &str| vec![("location", format!("http://{}{path}", storage.address))];

    let digest = Digest::of(b"content");
    storage.world().blobs.insert(digest.to_string(), b"content".to_vec());
    let path = format!("/v2/a/blobs/{digest}");
    server.world().faults = vec![("GET", Fault::Answer(307, elsewhere(&path), ""))];
    let mut bytes = Vec::new();
    registries.open_blob(&target, &digest, Some(7), 0).expect("opened").read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes, b"content");

    let path = "/v2/a/blobs/uploads/9?_state=0";
    server.world().faults = vec![("PUT", Fault::Answer(307, elsewhere(path), ""))];
    assert_eq!(push(&registries, &target, b"other", &[]).expect("sent"), BlobOutcome::Sent);
    assert!(is_stored(&storage, b"other"));
    assert!(server.log().iter().any(|line| line.starts_with("PUT") && line.contains("[Bearer")));
    assert!(storage.log().iter().all(|line| !line.contains('[')), "{:?}", storage.log());
}

#[test]
fn another_host_that_asks_who_we_are_is_not_told() {
    let storage = Server::start(World { tokens: Some(0), ..World::default() });
    let server = Server::start(World { upload_host: Some(storage.address.to_string()), ..World::default() });
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Even where there is a login for it: nobody asked to use it.
    let config = serde_json::json!({"auths": {storage.address.to_string(): {"auth": "YW5uOnNlY3JldA=="}}});
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a config");
    let config = Config { docker_config: Some(folder.path().to_owned()), ..Config::default() };
    let registries = Registries::new(http::Client::new(&http::Options::default()).expect("a client"), config);
    push(&registries, &server.reference("a:1"), b"content", &[]).expect_err("refused");
    let log = storage.log();
    assert!(log.iter().all(|line| line.starts_with("PUT") && !line.contains('[')), "{log:?}");
}

#[test]
fn a_digest_that_the_registry_tells_must_be_the_right_one() {
    let lie = || vec![("docker-content-digest", Digest::of(b"another").to_string())];
    let server = Server::start(World::default());
    let faults = vec![("GET", Fault::Answer(200, lie(), "{}")), ("PUT", Fault::Answer(201, lie(), ""))];
    let registries = acquainted(&server, Config::default(), faults);
    let target = server.reference("a:1");
    let read = registries.manifest(&target).expect_err("a lie");
    assert!(matches!(read, Error::WrongDigest { what: "manifest", .. }), "{read}");
    let written = registries.push_manifest(&target, "application/json", b"{}").expect_err("a lie");
    assert!(matches!(written, Error::WrongDigest { what: "manifest", .. }), "{written}");
    // One that tells none is believed by its 201.
    assert_eq!(registries.push_manifest(&target, "application/json", b"{}").expect("written"), Digest::of(b"{}"));
}

#[test]
fn a_manifest_that_comes_too_soon_after_its_blobs_is_written_again() {
    let body = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"not yet"}]}"#;
    let early = || ("PUT", Fault::Answer(400, Vec::new(), body));
    let server = Server::start(World::default());
    let registries = acquainted(&server, Config::default(), vec![early()]);
    registries.push_manifest(&server.reference("a:1"), "application/json", b"{}").expect("written");
    assert_eq!(count(&server, "PUT"), 2);

    // Once: a blob that is missing is missing.
    let registries = acquainted(&server, Config::default(), vec![early(), early()]);
    let error = registries.push_manifest(&server.reference("a:1"), "application/json", b"{}").expect_err("missing");
    assert!(error.to_string().ends_with("(MANIFEST_BLOB_UNKNOWN: not yet)"), "{error}");
    let registries = acquainted(&server, Config::default(), vec![("PUT", Fault::Answer(400, Vec::new(), ""))]);
    registries.push_manifest(&server.reference("a:1"), "application/json", b"{}").expect_err("another reason");
    assert_eq!(count(&server, "PUT"), 1);
}

#[test]
fn a_connection_over_which_nothing_moves_is_given_up() {
    let bytes = large();
    let digest = Digest::of(&bytes);
    let server = Server::start(World::default());
    let options = http::Options { stall: Some(Duration::from_millis(700)), ..http::Options::default() };
    let nobody = Config { docker_config: Some(PathBuf::from("/nonexistent")), ..Config::default() };
    let registries = Registries::new(http::Client::new(&options).expect("a client"), nobody);
    let target = server.reference("a:1");
    registries.has_blob(&target, &digest).expect("an answer");
    let started = Instant::now();

    // Bytes that nobody takes, a question that nobody answers, and a body that ends in its midst.
    server.world().faults = vec![("PUT", Fault::Hang)];
    assert_eq!(push(&registries, &target, &bytes, &[]).expect("sent"), BlobOutcome::Sent);
    assert!(is_stored(&server, &bytes));
    server.world().manifests.insert("1".into(), (String::new(), b"{}".to_vec()));
    server.world().faults = vec![("GET", Fault::Hang)];
    assert_eq!(registries.manifest(&target).expect("read").digest, Digest::of(b"{}"));
    server.world().faults = vec![("GET", Fault::HangAfter(5_000_000))];
    let mut read = Vec::new();
    registries.open_blob(&target, &digest, None, 0).expect("opened").read_to_end(&mut read).expect("read");
    assert!(read == bytes);
    assert!(server.log().last().is_some_and(|line| line.contains(" bytes=")), "{:?}", server.log());
    assert!(started.elapsed() < HANG, "the server hung up, and not the client");
}

#[test]
fn referrers_come_in_pages() {
    let server = Server::start(World::default());
    let subject = Digest::of(b"image");
    let referrer = |text: &str| Referrer {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        digest: Digest::of(text.as_bytes()),
        size: 2,
        artifact_type: Some(format!("application/vnd.{text}")),
        annotations: BTreeMap::new(),
    };
    let list = |text: &str| serde_json::json!({"schemaVersion": 2, "manifests": [referrer(text)]}).to_string();
    let first = || {
        let next = format!("</v2/a/referrers/{subject}?page=2>; rel=\"next\"");
        ("GET", Fault::Answer(200, vec![("link", next)], list("one").leak()))
    };
    let registries = acquainted(&server, Config::default(), vec![first()]);
    let repository = server.reference("a:1");
    server.world().manifests.insert(subject.to_string(), (String::new(), list("two").into_bytes()));
    assert_eq!(registries.referrers(&repository, &subject).expect("listed"), [referrer("one"), referrer("two")]);
    assert!(server.log()[1].ends_with("?page=2"), "{:?}", server.log());

    // Half a list is not given out as the whole, nor taken for a registry that keeps none.
    server.world().faults = vec![first(), ("GET", Fault::Answer(404, Vec::new(), ""))];
    let error = registries.referrers(&repository, &subject).expect_err("half a list");
    assert!(error.to_string().ends_with("the list breaks off with 404 Not Found"), "{error}");
    // A registry without them is asked for its tag; one that gives every unknown address a page as well.
    let tag = format!("sha256-{}", subject.hex());
    server.world().manifests.insert(tag, (String::new(), list("three").into_bytes()));
    for unknown in [Fault::Answer(404, Vec::new(), ""), page()] {
        server.world().faults = vec![("GET", unknown)];
        assert_eq!(registries.referrers(&repository, &subject).expect("listed"), [referrer("three")]);
    }
    // A failure says nothing about what is attached.
    let failed = || ("GET", Fault::Answer(503, vec![("retry-after", "0".to_owned())], ""));
    server.world().faults = (0..http::ATTEMPTS).map(|_| failed()).collect();
    registries.referrers(&repository, &subject).expect_err("a failure");
}
