//! Push and pull against the CNCF registry, read back by tools that are not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use imgforge::assemble::base::{self, FileLimits};
use imgforge::diagnostic::Hint as _;
use imgforge::http;
use imgforge::oci::{AssembledImage, DiffId, Digest, Layer, LayerSource, Platform, Reference};
use imgforge::progress::Progress;
use imgforge::publish::registry::{Published, Target, Upload};
use imgforge::publish::{self, layout};
use imgforge::registry::{Config, Error, Referrer, Registries};
use imgforge::store::Store;

use crate::support::registry::{RegistryServer, cutting_proxy, run};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

struct Desk {
    folder: tempfile::TempDir,
    store: Store,
    registries: Registries,
}

impl Desk {
    fn new(options: &http::Options, config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&folder.path().join("store"));
        let config = Config { docker_config: config.docker_config.or(Some(folder.path().to_owned())), ..config };
        let registries = Registries::new(http::Client::new(options).expect("a client"), config);
        Self { folder, store, registries }
    }

    fn plain() -> Self {
        Self::new(&http::Options::default(), Config::default())
    }

    fn push(&self, images: &[AssembledImage], repository: &str, tags: &[&str]) -> Result<Published, publish::Error> {
        self.push_near(images, repository, tags, &[])
    }

    fn push_near(
        &self,
        images: &[AssembledImage],
        repository: &str,
        tags: &[&str],
        mount_from: &[Reference],
    ) -> Result<Published, publish::Error> {
        let owned = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
        // A tag with `!` is one that must not move.
        let (immutable, tags): (Vec<&str>, Vec<&str>) = tags.iter().partition(|tag| tag.starts_with('!'));
        let immutable: Vec<&str> = immutable.iter().map(|tag| &tag[1..]).collect();
        let (tags, immutable_tags) = (owned(&tags), owned(&immutable));
        let target =
            Target { repository: &reference(repository), tags: &tags, immutable_tags: &immutable_tags, mount_from };
        Upload::begin(&self.registries, &self.store, &target, &Progress::hidden()).publish(images)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

/// A layer of one file, gzip, in `folder`.
fn layer(folder: &Path, path: &str, content: &[u8]) -> Layer {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, path, content).expect("an entry");
    let plain = builder.into_inner().expect("an archive");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&plain).expect("compressed");
    let bytes = encoder.finish().expect("compressed");
    let digest = Digest::of(&bytes);
    let file = folder.join(digest.hex());
    std::fs::write(&file, &bytes).expect("a layer");
    Layer {
        digest,
        diff_id: DiffId::of(&plain),
        size: bytes.len() as u64,
        media_type: LAYER_TYPE.to_owned(),
        annotations: BTreeMap::new(),
        source: LayerSource::File(file),
    }
}

fn image(platform: Platform, layers: Vec<Layer>) -> AssembledImage {
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
    let config = serde_json::json!({
        "architecture": platform.architecture_name(), "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| serde_json::json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": descriptors,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(&config), "size": config.len(),
        },
    });
    let manifest = manifest.to_string().into_bytes();
    AssembledImage { platform, layers, config, manifest, manifest_media_type: MANIFEST_TYPE.to_owned() }
}

/// Digest and layer contents as another project's client reads them.
fn read_with_oci_client(reference: &str) -> (String, Vec<Vec<u8>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = oci_client::client::ClientConfig {
        protocol: oci_client::client::ClientProtocol::Http,
        ..oci_client::client::ClientConfig::default()
    };
    let client = oci_client::Client::new(config);
    let reference: oci_client::Reference = reference.parse().expect("a reference");
    let auth = oci_client::secrets::RegistryAuth::Anonymous;
    let data = runtime.block_on(client.pull(&reference, &auth, vec![LAYER_TYPE])).expect("pulled");
    let layers = data.layers.into_iter().map(|layer| layer.data.to_vec()).collect();
    (data.digest.expect("a digest"), layers)
}

fn skopeo_inspect(arguments: &[&str]) -> serde_json::Value {
    let output = run(Command::new("skopeo").arg("inspect").args(arguments), "skopeo");
    serde_json::from_slice(&output).expect("JSON")
}

#[test]
fn an_immutable_tag_is_set_once_and_stops_a_push_before_it_sets_any() {
    let (server, desk) = (RegistryServer::plain(), Desk::plain());
    let first = image(Platform::AMD64, vec![layer(desk.path(), "one", b"1")]);
    let second = image(Platform::AMD64, vec![layer(desk.path(), "two", b"2")]);
    let repository = format!("{}/ml/fixed", server.host());
    let tags = ["latest", "at-{{ digest }}", "!1.0"];
    desk.push(std::slice::from_ref(&first), &repository, &tags).expect("pushed");
    desk.push(std::slice::from_ref(&first), &repository, &tags).expect("pushed again");
    let named = |tag: &str| desk.registries.manifest_digest(&reference(&format!("{repository}:{tag}"))).expect("asked");
    assert_eq!(named("1.0"), Some(first.digest()));
    assert_eq!(named(&format!("at-{}", &first.digest().hex()[..12])), Some(first.digest()));

    let error = desk.push(std::slice::from_ref(&second), &repository, &tags).expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "the tag of `{repository}:1.0` is immutable, and names {}; this image is {}",
            first.digest(),
            second.digest()
        )
    );
    assert_eq!(error.exit_code(), 1);
    assert_eq!(named("latest"), Some(first.digest()));
    desk.push(std::slice::from_ref(&second), &repository, &["latest", "!1.1"]).expect("pushed");
    assert_eq!((named("latest"), named("1.0")), (Some(second.digest()), Some(first.digest())));
}

#[test]
fn a_pushed_image_is_what_others_read() {
    let (server, desk) = (RegistryServer::plain(), Desk::plain());
    let layers = vec![layer(desk.path(), "one", b"1"), layer(desk.path(), "two", b"22")];
    let image = image(Platform::AMD64, layers.clone());
    let repository = format!("{}/ml/churn", server.host());
    let first = desk.push(std::slice::from_ref(&image), &repository, &["1", "latest"]).expect("pushed");
    let size = image.layers_size() + image.config.len() as u64;
    assert_eq!(first.reference.to_string(), format!("{repository}:1@{}", image.digest()));
    assert_eq!((first.bytes_sent, first.bytes_skipped, first.layers_mounted), (size, 0, 0));
    let second = desk.push(std::slice::from_ref(&image), &repository, &["latest"]).expect("pushed");
    assert_eq!((second.bytes_sent, second.bytes_skipped), (0, size));

    let (digest, contents) = read_with_oci_client(&format!("{repository}:latest"));
    assert_eq!(digest, image.digest().to_string());
    // That client gives layers in the order in which they arrive.
    let digests: BTreeSet<Digest> = contents.iter().map(|bytes| Digest::of(bytes)).collect();
    assert_eq!(digests, BTreeSet::from([layers[0].digest, layers[1].digest]));
    let inspected = skopeo_inspect(&["--tls-verify=false", &format!("docker://{repository}:1")]);
    assert_eq!(inspected["Digest"], image.digest().to_string());
    assert_eq!(inspected["Layers"].as_array().map(Vec::len), Some(2));

    let pulled = desk.registries.manifest(&reference(&format!("{repository}:1"))).expect("read");
    assert_eq!((pulled.digest, pulled.bytes), (image.digest(), image.manifest));
    assert_eq!(desk.registries.manifest_digest(&reference(&format!("{repository}:none"))).expect("asked"), None);
}

#[test]
fn layers_are_mounted_from_another_repository() {
    let (server, desk) = (RegistryServer::plain(), Desk::plain());
    let shared = layer(desk.path(), "shared", &vec![7; 100_000]);
    let old = format!("{}/old", server.host());
    desk.push(&[image(Platform::AMD64, vec![shared.clone()])], &old, &["1"]).expect("pushed");
    let own = layer(desk.path(), "own", b"x");
    let new = image(Platform::AMD64, vec![shared.clone(), own.clone()]);
    let config_size = new.config.len() as u64;
    let neighbours = [reference(&format!("{old}:1")), reference("registry.test/elsewhere:1")];
    let published = desk.push_near(&[new], &format!("{}/new", server.host()), &["1"], &neighbours).expect("pushed");
    assert_eq!((published.layers_mounted, published.bytes_mounted), (1, shared.size));
    assert_eq!(published.bytes_sent, own.size + config_size);
}

#[test]
fn a_layer_is_mounted_from_where_an_earlier_push_left_it() {
    let (server, desk) = (RegistryServer::plain(), Desk::plain());
    let shared = layer(desk.path(), "shared", &vec![7; 100_000]);
    let images = [image(Platform::AMD64, vec![shared.clone()])];
    let push = |repository: &str| desk.push(&images, &format!("{}/{repository}", server.host()), &["1"]);
    assert_eq!(push("first").expect("pushed").layers_mounted, 0);
    let second = push("second").expect("pushed");
    assert_eq!((second.layers_mounted, second.bytes_mounted), (1, shared.size));

    // Without its file, too; but not from a registry that forgot it, nor in one that never had it.
    std::fs::remove_file(desk.path().join(shared.digest.hex())).expect("removed");
    let mounts = |server: &RegistryServer| {
        let repository = reference(&format!("{}/third", server.host()));
        let target = Target { repository: &repository, tags: &[], immutable_tags: &[], mount_from: &[] };
        Upload::begin(&desk.registries, &desk.store, &target, &Progress::hidden()).mount(&shared.digest, shared.size)
    };
    assert!(mounts(&server));
    assert!(!mounts(&RegistryServer::plain()));
    std::fs::remove_dir_all(server.data()).expect("removed");
    assert!(!mounts(&server));
}

#[test]
fn a_base_layer_goes_from_registry_to_registry() {
    let (source, target, desk) = (RegistryServer::plain(), RegistryServer::plain(), Desk::plain());
    let base_layer = layer(desk.path(), "etc/passwd", b"root:x:0:0::/root:/bin/sh\n");
    let name = format!("{}/base:1", source.host());
    desk.push(&[image(Platform::AMD64, vec![base_layer.clone()])], &name, &["1"]).expect("pushed");

    let base = base::resolve(&desk.registries, &desk.store, &reference(&name), Platform::AMD64).expect("a base");
    assert_eq!(base.layers[0].diff_id, base_layer.diff_id);
    let files = base::read_files(
        &desk.registries,
        &desk.store,
        &base,
        &["etc/passwd", "etc/group"],
        FileLimits::default(),
        &mut |_| {},
    );
    let expected = BTreeMap::from([("etc/passwd".to_owned(), b"root:x:0:0::/root:/bin/sh\n".to_vec())]);
    assert_eq!(files.expect("files"), expected);
    let error =
        base::resolve(&desk.registries, &desk.store, &reference(&name), Platform::ARM64).expect_err("amd64 only");
    assert_eq!(error.to_string(), format!("`{name}` has no image for linux/arm64"));

    let own = layer(desk.path(), "own", b"x");
    let layered = image(Platform::AMD64, vec![base.layers[0].clone(), own]);
    let size = layered.layers_size() + layered.config.len() as u64;
    let repository = format!("{}/copy", target.host());
    let published = desk.push(std::slice::from_ref(&layered), &repository, &["1"]).expect("pushed");
    assert_eq!(published.bytes_sent, size);
    assert_eq!(desk.store.blob(&base_layer.digest), None, "the layer was passed on, not kept");
    assert_eq!(read_with_oci_client(&format!("{repository}:1")).0, layered.digest().to_string());

    let folder = desk.path().join("layout");
    let progress = Progress::hidden();
    let digest = layout::write(&desk.registries, &desk.store, &[layered], &folder, "1", &progress).expect("a layout");
    let inspected = skopeo_inspect(&[&format!("oci:{}:1", folder.display())]);
    assert_eq!(inspected["Digest"], digest.to_string());

    // What was seen once is found again without the registry.
    let (pinned, store) = (base.reference.clone(), desk.store.clone());
    drop(source);
    let offline = Desk::new(&http::Options { offline: true, ..http::Options::default() }, Config::default());
    let again = base::resolve(&offline.registries, &store, &pinned, Platform::AMD64).expect("remembered");
    assert_eq!(again.config, base.config);
}

#[test]
fn an_upload_that_is_cut_arrives_all_the_same() {
    let (server, desk) = (RegistryServer::plain(), Desk::plain());
    let (proxy, traffic) = cutting_proxy(server.address(), 5 << 20);
    let content: Vec<u8> = (0..20_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = image(Platform::AMD64, vec![layer(desk.path(), "large", &content)]);
    desk.push(std::slice::from_ref(&image), &format!("{proxy}/large"), &["1"]).expect("pushed");
    assert_eq!(traffic.cuts.load(Ordering::SeqCst), 1, "the proxy did not cut anything");
    let sent = traffic.sent.load(Ordering::SeqCst);
    // This registry drops the session, so the blob is sent once more; one that keeps it is played by a unit test.
    assert!(sent < 26_000_000, "{sent} bytes were sent for 20 MB and one cut after 5 MiB");
    assert_eq!(read_with_oci_client(&format!("{}/large:1", server.host())).0, image.digest().to_string());
}

#[test]
fn pieces_arrive_whole() {
    let server = RegistryServer::plain();
    let desk = Desk::new(&http::Options::default(), Config { upload_chunk: Some(1 << 20), ..Config::default() });
    let image = image(Platform::AMD64, vec![layer(desk.path(), "large", &vec![3; 3_500_000])]);
    desk.push(std::slice::from_ref(&image), &format!("{}/pieces", server.host()), &["1"]).expect("pushed");
    let (digest, _) = read_with_oci_client(&format!("{}/pieces:1", server.host()));
    assert_eq!(digest, image.digest().to_string());
}

#[test]
fn several_platforms_share_a_tag() {
    let (server, desk) = (RegistryServer::plain(), Desk::plain());
    let shared = layer(desk.path(), "shared", b"data");
    let images = [image(Platform::AMD64, vec![shared.clone()]), image(Platform::ARM64, vec![shared])];
    let name = format!("{}/multi:1", server.host());
    let published = desk.push(&images, &name, &["1"]).expect("pushed");
    for image in &images {
        let found = desk.registries.resolve_platform(&published.reference, image.platform).expect("found");
        assert_eq!(found.digest, image.digest());
    }
    let inspected = skopeo_inspect(&["--tls-verify=false", "--override-arch=arm64", &format!("docker://{name}")]);
    assert_eq!(inspected["Architecture"], "arm64");
}

#[test]
fn a_mirror_stands_in_for_a_registry_that_is_not_there() {
    let server = RegistryServer::plain();
    let mirrors = BTreeMap::from([("docker.io".to_owned(), vec![server.host()])]);
    let desk = Desk::new(&http::Options::default(), Config { mirrors, ..Config::default() });
    let python = image(Platform::AMD64, vec![layer(desk.path(), "usr/bin/python3", b"elf")]);
    desk.push(&[python], &format!("{}/library/python", server.host()), &["3.11-slim"]).expect("pushed");
    let base =
        base::resolve(&desk.registries, &desk.store, &reference("python:3.11-slim"), Platform::AMD64).expect("a base");
    let layered = image(Platform::AMD64, vec![base.layers[0].clone()]);
    let published = desk.push(&[layered], &format!("{}/ml/churn", server.host()), &["1"]).expect("pushed");
    assert_eq!(published.layers_mounted, 1, "the mirror is the target registry, so the layer is mounted there");
}

#[test]
fn what_is_attached_to_an_image_is_found_from_it() {
    let (server, desk) = (RegistryServer::plain(), Desk::plain());
    let image = image(Platform::AMD64, vec![layer(desk.path(), "one", b"1")]);
    let name = format!("{}/attached:1", server.host());
    desk.push(std::slice::from_ref(&image), &name, &["1"]).expect("pushed");
    let (repository, subject) = (reference(&name), image.digest());
    assert_eq!(desk.registries.referrers(&repository, &subject).expect("asked"), []);
    let attach = |kind: &str| {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": kind, "layers": [],
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": image.config_digest(),
                "size": image.config.len(),
            },
            "subject": {"mediaType": MANIFEST_TYPE, "digest": subject, "size": image.manifest.len()},
        });
        let bytes = manifest.to_string().into_bytes();
        let referrer = Referrer {
            media_type: MANIFEST_TYPE.to_owned(),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            artifact_type: Some(kind.to_owned()),
            annotations: BTreeMap::new(),
        };
        assert!(!desk.registries.push_referrer(&repository, MANIFEST_TYPE, &bytes).expect("written"));
        referrer
    };
    let list = |referrers: &[Referrer]| {
        desk.registries.list_referrers(&repository, &subject, referrers.to_vec()).expect("listed");
    };
    let expected = ["lock", "sbom", "stack"].map(|kind| attach(&format!("application/vnd.test.{kind}")));
    list(&expected[..2]);
    list(&expected[1..]);
    assert_eq!(desk.registries.referrers(&repository, &subject).expect("asked"), expected);
}

#[test]
fn a_private_registry_wants_its_authority_and_a_password() {
    let server = RegistryServer::secure("ann", "secret");
    let desk = |ca_files: Vec<PathBuf>, docker_config: Option<PathBuf>| {
        let options = http::Options { ca_files, ..http::Options::default() };
        Desk::new(&options, Config { docker_config, ..Config::default() })
    };
    let repository = format!("{}/private", server.host());
    let trusted = || vec![server.ca_file()];

    let welcome = desk(trusted(), Some(server.docker_config("ann", "secret")));
    let image = image(Platform::AMD64, vec![layer(welcome.path(), "one", b"1")]);
    let images = std::slice::from_ref(&image);
    welcome.push(images, &repository, &["1"]).expect("pushed");
    let pulled = welcome.registries.manifest(&reference(&format!("{repository}:1"))).expect("read");
    assert_eq!(pulled.digest, image.digest());

    let wrong = desk(trusted(), Some(server.docker_config("ann", "guess")));
    match wrong.push(images, &repository, &["1"]) {
        Err(publish::Error::Registry(error @ Error::Denied { .. })) => {
            let help = format!("check that `ann` may do this, or log in anew with `docker login {}`", server.host());
            assert_eq!(error.help(), [help]);
        }
        other => panic!("a wrong password gave {other:?}"),
    }
    match desk(trusted(), None).push(images, &repository, &["1"]) {
        Err(publish::Error::Registry(Error::Denied { user: None, .. })) => {}
        other => panic!("no password gave {other:?}"),
    }
    let strange = desk(Vec::new(), Some(server.docker_config("ann", "secret")));
    let error = strange.push(images, &repository, &["1"]).expect_err("an unknown authority");
    assert!(error.help().iter().any(|line| line.contains("IMGFORGE_CA_FILE")), "{error}: {:?}", error.help());
}
