//! How a registry's host is reached: plain http where that is allowed by name, through proxies and mirrors, and with a client
//! certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::Command as Program;
use imgforge::diagnostic::Hint as _;
use imgforge::http::{self, KeyPassword, KeyProblem};
use imgforge::oci::Reference;
use imgforge::registry::{Config, Error, HostTls, Registries};

use crate::support::forge::{Forge, standard_output};
use crate::support::invented::mirror;
use crate::support::registry::{RegistryServer, leading_proxy};
use crate::support::{copy_folder, repository, run};

/// A project whose base is in a registry of its own.
struct Project {
    forge: Forge,
    bases: RegistryServer,
}

impl Project {
    fn new() -> Self {
        let (forge, bases) = (Forge::new(), RegistryServer::plain());
        copy_folder(&repository().join("tests/cases/golden/project"), &forge.path(""));
        mirror(&bases);
        Self { forge, bases }
    }

    fn push(&self, target: &str) -> Program {
        let mut command = self.forge.imgforge();
        command.args(["build", "spec.yaml", "--locked", "--push", "--no-attest", "--repository", target]);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.env("IMGFORGE_REGISTRY_MIRRORS", format!("docker.io={}", self.bases.host()));
        command
    }

    /// What a push that must fail says.
    fn refusal(command: &mut Program) -> String {
        let output = command.assert().code(2).get_output().clone();
        String::from_utf8(output.stderr).expect("UTF-8")
    }
}

#[test]
fn plain_http_is_for_this_machine_and_for_hosts_that_are_named() {
    let (project, server) = (Project::new(), RegistryServer::plain());
    let (proxy, lines) = leading_proxy(server.address());
    let target = "registry.test:5000/ml/project";
    let push = || {
        let mut push = project.push(target);
        push.env("HTTP_PROXY", &proxy).env("HTTPS_PROXY", &proxy).env("NO_PROXY", "127.0.0.1");
        push
    };
    let said = Project::refusal(&mut push());
    assert!(said.contains("`registry.test:5000` seems to speak plain http: list it as an insecure registry"), "{said}");
    let asked = std::mem::take(&mut *lines.lock().expect("the lines"));
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with("CONNECT registry.test:5000 ")), "{asked:?}");

    let reference = standard_output(push().env("IMGFORGE_INSECURE_REGISTRIES", "registry.test:5000"));
    assert!(reference.starts_with(&format!("{target}:1.0@sha256:")), "{reference}");
    let asked = lines.lock().expect("the lines").clone();
    assert!(asked.iter().all(|line| line.contains(" http://registry.test:5000/v2/")), "{asked:?}");
    // It arrived where the proxy led it.
    let digest = reference.split_once('@').expect("a digest").1;
    let own = format!("docker://{}/ml/project:1.0", server.host());
    let inspect = ["inspect", "--raw", "--tls-verify=false", &own];
    let manifest = Command::new("skopeo").args(inspect).output().expect("skopeo").stdout;
    assert_eq!(imgforge::oci::Digest::of(&manifest).to_string(), digest);
}

#[test]
fn a_proxy_is_used_unless_the_host_is_excepted() {
    let (project, server) = (Project::new(), RegistryServer::secure("ann", "secret"));
    let (proxy, lines) = leading_proxy(server.address());
    let target = format!("localhost:{}/ml/project", server.address().port());
    let docker = project.forge.home().join("docker");
    fs::create_dir_all(&docker).expect("a folder");
    let login = fs::read_to_string(server.docker_config("ann", "secret").join("config.json")).expect("a config");
    fs::write(docker.join("config.json"), login.replace("127.0.0.1:", "localhost:")).expect("a config");
    let push = || {
        let mut push = project.push(&target);
        push.env("IMGFORGE_CA_FILE", server.ca_file()).env("HTTPS_PROXY", &proxy).env("DOCKER_CONFIG", &docker);
        push
    };
    standard_output(&mut push());
    let asked = std::mem::take(&mut *lines.lock().expect("the lines"));
    let expected = format!("CONNECT localhost:{} ", server.address().port());
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with(&expected)), "{asked:?}");
    standard_output(push().env("NO_PROXY", "localhost"));
    assert_eq!(*lines.lock().expect("the lines"), Vec::<String>::new());
}

#[test]
fn a_mirror_is_asked_before_the_registry_and_may_be_without_encryption() {
    let (project, server) = (Project::new(), RegistryServer::plain());
    let (proxy, lines) = leading_proxy(project.bases.address());
    // The first is not there, the second has nothing under its prefix, the third is what a company has.
    let mirrors = "docker.io=127.0.0.1:1,docker.io=http://mirror.test/nothing,docker.io=http://mirror.test";
    let mut push = project.push(&format!("{}/ml/project", server.host()));
    // What others have seen of the base is not asked for again.
    let cache = tempfile::tempdir().expect("a temporary folder");
    push.env("IMGFORGE_CACHE", cache.path());
    push.env("IMGFORGE_REGISTRY_MIRRORS", mirrors).env("HTTP_PROXY", &proxy).env("NO_PROXY", "127.0.0.1");
    standard_output(&mut push);
    let asked = lines.lock().expect("the lines").join("\n");
    assert!(asked.contains("http://mirror.test/v2/"), "{asked}");
    assert!(!asked.contains("CONNECT"), "{asked}");
}

#[test]
fn a_client_certificate_is_found_where_podman_keeps_it() {
    let (project, server) = (Project::new(), RegistryServer::mutual());
    let target = format!("{}/ml/project", server.host());
    let said = Project::refusal(project.push(&target).env("IMGFORGE_CA_FILE", server.ca_file()));
    assert!(
        said.contains(&format!(
            "put `client.cert` and `client.key` into `~/.config/containers/certs.d/{}`",
            server.host()
        )),
        "{said}"
    );

    let folder = project.forge.home().join(".config/containers/certs.d").join(server.host());
    server.write_client_certificate(&folder);
    let reference = standard_output(&mut project.push(&target));
    let mut inspect = Command::new("skopeo");
    inspect.args(["inspect", "--override-arch=amd64", "--format", "{{.Digest}}"]).arg("--cert-dir").arg(&folder);
    let digest = run(inspect.arg(format!("docker://{target}:1.0")));
    assert_eq!(reference, format!("{target}:1.0@{digest}"));

    let key = folder.join("client.key");
    fs::remove_file(&key).expect("removed");
    let said = Project::refusal(&mut project.push(&target));
    let expected = format!(
        "certificate file `{}`: there is no key beside it: expected `{}`",
        folder.join("client.cert").display(),
        key.display()
    );
    assert!(said.contains(&expected), "{said}");

    // What the settings name goes before the folders.
    let elsewhere = project.forge.home().join("pki");
    server.write_client_certificate(&elsewhere);
    let settings = format!(
        "[registry.hosts.\"{}\"]\nca-files = [\"~/pki/ca.crt\"]\nclient-certificate = \"~/pki/client.cert\"\n\
         client-key = \"~/pki/client.key\"\n",
        server.host()
    );
    let config = project.forge.home().join(".config/imgforge");
    fs::create_dir_all(&config).expect("a folder");
    fs::write(config.join("config.toml"), settings).expect("the settings");
    assert_eq!(standard_output(&mut project.push(&target)), reference);
}

/// Asks for a manifest that is not there; an error that says so came from the registry itself.
fn ask(server: &RegistryServer, certificate: PathBuf, key: PathBuf, password: Option<&str>) -> Error {
    let own = HostTls { ca_files: vec![server.ca_file()], client: Some((certificate, key)) };
    let config = Config {
        tls: [(server.host(), own)].into(),
        client_key_password: password.map(|text| KeyPassword(text.to_owned())),
        docker_config: Some(PathBuf::from("/nonexistent")),
        ..Config::default()
    };
    let registries = Registries::new(http::Client::new(&http::Options::default()).expect("a client"), config);
    let reference: Reference = format!("{}/ml/none:1", server.host()).parse().expect("a reference");
    registries.manifest(&reference).expect_err("there is none")
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_the_reason() {
    let server = RegistryServer::mutual();
    let folder = tempfile::tempdir().expect("a temporary folder");
    server.write_client_certificate(folder.path());
    let path = |name: &str| folder.path().join(name);
    let openssl = |arguments: &[&str]| run(Command::new("openssl").args(arguments).current_dir(folder.path()));
    let to_pkcs8 = ["pkcs8", "-topk8", "-in", "client.key", "-passout", "pass:open sesame"];
    for (name, cipher) in [("cbc.key", &["-v2", "aes-256-cbc"][..]), ("scrypt.key", &["-scrypt"])] {
        openssl(&[&to_pkcs8[..], cipher, &["-out", name]].concat());
    }
    openssl(&["ec", "-in", "client.key", "-aes256", "-passout", "pass:open sesame", "-out", "old.key"]);
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "other.key"]);
    fs::write(path("empty.key"), "").expect("a file");
    let ask = |key: &str, password| ask(&server, path("client.cert"), path(key), password);

    for (key, password) in [("client.key", None), ("cbc.key", Some("open sesame")), ("scrypt.key", Some("open sesame"))]
    {
        let error = ask(key, password);
        assert!(error.is_not_found(), "{key}: {error}");
    }
    let problem = |key: &str, password| match ask(key, password) {
        Error::Transport { source: http::Error::Key { path: named, problem }, .. } => {
            assert_eq!(named, path(key));
            problem
        }
        other => panic!("{key}: {other}"),
    };
    assert_eq!(problem("cbc.key", None), KeyProblem::Encrypted);
    assert_eq!(problem("cbc.key", Some("guess")), KeyProblem::WrongPassword);
    assert_eq!(problem("scrypt.key", Some("guess")), KeyProblem::WrongPassword);
    assert!(matches!(problem("old.key", Some("open sesame")), KeyProblem::Unsupported(_)));
    assert_eq!(problem("empty.key", None), KeyProblem::NoKey);
    assert!(matches!(problem("none.key", None), KeyProblem::Unreadable(_)));

    let certificate = path("client.cert");
    let wrong = |error: Error| match error {
        Error::Transport { source: http::Error::Certificate { path, cause }, .. } => {
            assert_eq!(path, certificate);
            cause
        }
        other => panic!("{other}"),
    };
    let cause = wrong(ask("other.key", None));
    assert!(cause.to_lowercase().contains("mismatch"), "{cause}");
    fs::write(&certificate, "nothing").expect("a file");
    assert_eq!(wrong(ask("client.key", None)), "it holds no PEM certificate");
    let help = ask_for_help(&server, folder.path());
    assert_eq!(help, ["put its password into `IMGFORGE_CLIENT_KEY_PASSWORD`"]);
}

fn ask_for_help(server: &RegistryServer, folder: &Path) -> Vec<String> {
    server.write_client_certificate(folder);
    ask(server, folder.join("client.cert"), folder.join("cbc.key"), None).help()
}
