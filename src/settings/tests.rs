//! Settings of invented machines: folders with the files of imgforge, uv, pip and apt, and variables.

use std::fs;

use super::*;

struct Machine {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), variables: BTreeMap::new() }
    }
    /// A file below the machine's root; the home folder is `home`.
    fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
        self
    }
    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
    fn environment(&self) -> Environment {
        let root = self.folder.path().to_owned();
        Environment { variables: self.variables.clone(), home: Some(root.join("home")), root }
    }
    fn load(&self) -> Settings {
        Settings::load(&self.environment()).expect("good settings")
    }
    fn error(&self) -> Error {
        Settings::load(&self.environment()).expect_err("bad settings")
    }
}

fn index(settings: &Settings, name: &str) -> String {
    settings.index_url(name).map(|location| location.url.to_string()).unwrap_or_default()
}

#[test]
fn an_empty_machine_has_the_embedded_addresses() {
    let settings = Machine::new().load();
    let sources = Sources::embedded().expect("the embedded defaults");
    let family = &sources.index_families["pytorch"];
    assert_eq!(index(&settings, "default"), sources.indexes["default"].url.as_str());
    assert_eq!(index(&settings, "pytorch-cu121"), format!("{}cu121/", family.url));
    assert_eq!(settings.index_url("pytorch-cu121").map(|location| location.absent_statuses), Some(vec![403]));
    for name in ["pytorch-", "pytorch-../x", "pytorch-..", "internal", ""] {
        assert_eq!(index(&settings, name), "", "{name}");
    }
    let debian = settings.archive("debian").expect("an archive");
    assert_eq!(debian.url, sources.archives["debian"].url);
    assert_eq!(debian.suites("bookworm"), ["bookworm", "bookworm-updates"]);
    let security = settings.archive("debian-security").expect("an archive");
    assert_eq!(security.suites("bookworm"), ["bookworm-security"]);
    assert_eq!(settings.ca_files, Vec::<PathBuf>::new());
}

#[test]
fn the_default_index_is_asked_of_imgforge_then_uv_then_pip() {
    let mut machine = Machine::new().file("etc/pip.conf", "[global]\nindex_url = https://pip-system.example/simple\n");
    let mut expect = |change: &dyn Fn(Machine) -> Machine, url: &str| {
        machine = change(std::mem::replace(&mut machine, Machine::new()));
        assert_eq!(index(&machine.load(), "default"), url);
    };
    expect(&|machine| machine, "https://pip-system.example/simple/");
    expect(
        &|machine| machine.file("home/.config/pip/pip.conf", "[global]\nindex-url: https://pip-user.example/a;b\n"),
        "https://pip-user.example/a;b/",
    );
    expect(&|machine| machine.variable("PIP_INDEX_URL", "https://pip-env.example/"), "https://pip-env.example/");
    expect(
        &|machine| machine.file("etc/uv/uv.toml", "index-url = 'https://uv-system.example/'"),
        "https://uv-system.example/",
    );
    expect(
        &|machine| {
            machine.file(
                "home/.config/uv/uv.toml",
                "[[index]]\nurl = 'https://other.example'\n[[index]]\nurl = 'https://uv-user.example'\ndefault = true",
            )
        },
        "https://uv-user.example/",
    );
    expect(
        &|machine| machine.variable("UV_DEFAULT_INDEX", "corp=https://uv-env.example/?x=1"),
        "https://uv-env.example/",
    );
    expect(
        &|machine| machine.file("etc/imgforge/config.toml", "index-url = 'https://system.example/'"),
        "https://system.example/",
    );
    expect(
        &|machine| machine.file("home/.config/imgforge/config.toml", "index-url = 'https://user.example/'"),
        "https://user.example/",
    );
    expect(&|machine| machine.variable("IMGFORGE_INDEX_URL", "https://env.example"), "https://env.example/");
    expect(&|machine| machine.variable("IMGFORGE_INDEX_DEFAULT_URL", "https://name.example"), "https://name.example/");
}

#[test]
fn named_indexes_come_from_variables_files_and_the_spec() {
    let machine = Machine::new()
        .file("home/.config/imgforge/config.toml", "[indexes]\ninternal = 'https://file.example/simple'\n")
        .variable("IMGFORGE_INDEX_OTHER_ONE_URL", "https://variable.example/")
        .variable("IMGFORGE_PYTORCH_INDEX_URL", "http://127.0.0.1:8000/whl");
    let mut settings = machine.load();
    let url = |text: &str| Url::parse(text).expect("a URL");
    for name in ["internal", "other-one", "third"] {
        settings.with_extra(name, &url(&format!("https://spec.example/{name}"))).expect("added");
    }
    assert_eq!(index(&settings, "internal"), "https://file.example/simple/");
    assert_eq!(index(&settings, "other-one"), "https://variable.example/");
    assert_eq!(index(&settings, "third"), "https://spec.example/third/");
    assert_eq!(index(&settings, "pytorch-rocm6.2"), "http://127.0.0.1:8000/whl/rocm6.2/");
    let error = settings.with_extra("x", &url("file:///etc")).expect_err("no service");
    assert_eq!(
        error.to_string(),
        "the index `x` of the spec is not the address of a service: it starts with `file:`, not `https:` or `http:`"
    );
}

#[test]
fn credentials_are_found_and_never_shown() {
    let machine = Machine::new()
        .file("home/.netrc", "machine netrc.example login ann password s3cret\n")
        .variable("IMGFORGE_INDEX_URL", "https://bob:s3%40cret+@default.example/simple")
        .variable("UV_INDEX_INTERNAL_USERNAME", "eve")
        .variable("UV_INDEX_INTERNAL_PASSWORD", "s3cret");
    let mut settings = machine.load();
    for (name, url) in [("internal", "https://internal.example/"), ("third", "https://netrc.example/")] {
        settings.with_extra(name, &Url::parse(url).expect("a URL")).expect("added");
    }
    let show = |name: &str| {
        let location = settings.index_url(name).expect("a location");
        assert!(!format!("{location:?} {settings:?} {:?}", machine.environment()).contains("s3"), "{name}");
        location.credentials.map(|found| (found.username.clone(), found.password().map(str::to_owned)))
    };
    assert_eq!(show("default"), Some(("bob".into(), Some("s3@cret+".into()))));
    assert_eq!(show("internal"), Some(("eve".into(), Some("s3cret".into()))));
    assert_eq!(show("third"), Some(("ann".into(), Some("s3cret".into()))));
    let default = settings.index_url("default").expect("a location");
    let elsewhere = |url: &str| {
        let found = settings.index_credentials(&default, &Url::parse(url).expect("a URL"));
        found.map(|found| found.username)
    };
    assert_eq!(elsewhere("https://default.example/x.whl").as_deref(), Some("bob"));
    assert_eq!(elsewhere("http://default.example/x.whl"), None);
    assert_eq!(elsewhere("https://files.example/x.whl"), None);
    assert_eq!(elsewhere("https://netrc.example/x.whl").as_deref(), Some("ann"));
}

#[test]
fn debian_mirrors_come_from_apt_on_debian_alone() {
    let lists = |release: &str| {
        Machine::new()
            .file("etc/os-release", release)
            .file("etc/apt/sources.list", "# deb http://no.example/debian x main\ndeb http://vendor.example/tool stable main\n")
            .file(
                "etc/apt/sources.list.d/a.sources",
                "Types: deb-src\nURIs: http://src.example/debian\nSuites: x\nComponents: main\n\n\
                 Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: x\nComponents: main\n\n\
                 Types: deb\n# a comment\nURIs: http://vendor.example/x\n http://mirror.example/debian\nSuites: bookworm\n\
                 Components: contrib\n main\n",
            )
            .file(
                "etc/apt/sources.list.d/b.list",
                "deb [arch=amd64 trusted=yes] https://mirror.example/debian-security/ bookworm-security main contrib\n\
                 deb http://later.example/debian bookworm main\n",
            )
    };
    let url = |settings: &Settings, name: &str| settings.archive(name).map(|archive| archive.url.to_string());
    let debian = lists("NAME=\"Debian\"\nID=debian\n");
    let settings = debian.load();
    assert_eq!(url(&settings, "debian").as_deref(), Some("http://mirror.example/debian/"));
    assert_eq!(url(&settings, "debian-security").as_deref(), Some("https://mirror.example/debian-security/"));
    let other = lists("ID=ubuntu\nID_LIKE=debian\n").load();
    assert_eq!(url(&other, "debian"), url(&Machine::new().load(), "debian"));
    let settings = debian
        .file(
            "etc/imgforge/config.toml",
            "[archives]\ndebian = 'https://a.example/debian'\nsnapshot = 'https://s.example'",
        )
        .variable("IMGFORGE_DEBIAN_SECURITY_MIRROR", "https://b.example/sec")
        .load();
    assert_eq!(url(&settings, "debian").as_deref(), Some("https://a.example/debian/"));
    assert_eq!(url(&settings, "debian-security").as_deref(), Some("https://b.example/sec/"));
    let snapshot = settings.snapshot("debian").expect("a service");
    assert_eq!(snapshot.dated, "https://s.example/archive/{archive}/{moment}/{path}");
    assert_eq!(snapshot.file.as_deref(), Some("https://s.example/file/{hash}"));
}

#[test]
fn ubuntus_archives_are_those_of_the_architecture() {
    let settings = Machine::new()
        .variable("IMGFORGE_UBUNTU_MIRROR", "https://mirror.example/ubuntu")
        .variable("IMGFORGE_UBUNTU_SNAPSHOT", "https://mirror.example/of/{moment}/ubuntu")
        .load();
    let names = |architecture: &str| {
        let archives = settings.archives().filter(|archive| archive.has(architecture));
        archives.map(|archive| archive.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(names("amd64"), ["debian", "debian-security", "ubuntu"]);
    assert_eq!(names("arm64"), ["debian", "debian-security", "ubuntu-ports"]);
    let ubuntu = settings.archive("ubuntu").expect("an archive");
    assert_eq!(ubuntu.url.as_str(), "https://mirror.example/ubuntu/");
    assert_eq!(ubuntu.suites("jammy"), ["jammy", "jammy-updates", "jammy-security"]);
    assert_eq!(ubuntu.components, ["main", "universe"]);
    let snapshot = settings.snapshot("ubuntu").expect("a service");
    assert_eq!(snapshot.dated, "https://mirror.example/of/{moment}/ubuntu/{path}");
    assert_eq!((&snapshot.list, &snapshot.file), (&None, &None));
    let whole = Machine::new().variable("IMGFORGE_DEBIAN_SNAPSHOT", "https://x.example/{moment}/{path}").load();
    let whole = whole.snapshot("debian").expect("a service").dated.clone();
    assert_eq!(whole, "https://x.example/{moment}/{path}");
}

#[test]
fn registries_have_mirrors_and_may_be_insecure() {
    let settings = Machine::new()
        .file(
            "home/.config/imgforge/config.toml",
            "[registry]\ninsecure = ['plain.example']\n[registry.mirrors]\n'docker.io' = ['old.example']\n\
             'ghcr.example' = ['harbor.example/ghcr/']",
        )
        .variable("IMGFORGE_REGISTRY_MIRRORS", "docker.io=localhost:5000, docker.io=http://m.example,")
        .variable("IMGFORGE_INSECURE_REGISTRIES", "also.example:80")
        .load();
    let show = |name: &str| {
        let location = settings.registry(name);
        let hosts: Vec<String> = location
            .hosts
            .iter()
            .map(|host| format!("{} {} {}", host.host, host.prefix, if host.plain_http { "http" } else { "https" }))
            .collect();
        (location.name, hosts)
    };
    let hub = Sources::embedded().expect("the embedded defaults").registries["docker.io"].clone();
    let expected: (String, Vec<String>) = (
        "docker.io".into(),
        vec!["localhost:5000  http".into(), "m.example  http".into(), format!("{}  https", hub.host)],
    );
    assert_eq!(show("docker.io"), expected);
    assert_eq!(show(&hub.aliases[0]), expected);
    assert_eq!(show("ghcr.example").1, ["harbor.example ghcr https", "ghcr.example  https"]);
    assert_eq!(show("plain.example").1, ["plain.example  http"]);
    assert_eq!(show("also.example:80").1, ["also.example:80  http"]);
    assert_eq!(show("[::1]:5000").1, ["[::1]:5000  http"]);
    assert_eq!(show("127.0.0.1").1, ["127.0.0.1  http"]);
    assert_eq!(show("127.example").1, ["127.example  https"]);
}

#[test]
fn certificate_files_are_collected_once() {
    let machine = Machine::new()
        .file("home/.config/imgforge/config.toml", "ca-files = ['~/a.pem', '/b.pem']")
        .file("etc/pip.conf", "[global]\ncert = /b.pem\n")
        .variable("IMGFORGE_CA_FILE", "/c.pem");
    let home = machine.environment().home.expect("a home").join("a.pem");
    assert_eq!(machine.load().ca_files, [PathBuf::from("/c.pem"), home, PathBuf::from("/b.pem")]);
    let machine = Machine::new().variable("PIP_CERT", "/x.pem").variable("SSL_CERT_FILE", "/x.pem");
    assert_eq!(machine.load().ca_files, Vec::<PathBuf>::new());
}

#[test]
fn mistakes_have_a_place() {
    let config = |text: &str| Machine::new().file("home/.config/imgforge/config.toml", text).error();
    let Error::Config { cause, origin } = config("ca-files = []\nindx-url = 'x'\n") else { panic!("a place") };
    assert!(cause.starts_with("unknown field `indx-url`"), "{cause}");
    assert_eq!((origin.line(), origin.column()), (2, 1));
    let Error::Config { cause, origin } = config("[indexes]\na = 'https://x.example'\nb = 'ftp://u:p@x'\n") else {
        panic!("a place")
    };
    assert_eq!(cause, "not the address of a service: it starts with `ftp:`, not `https:` or `http:`");
    assert_eq!((origin.line(), origin.column()), (3, 5));
    let error = Machine::new().variable("IMGFORGE_REGISTRY_MIRRORS", "docker.io").error();
    assert_eq!(
        error.to_string(),
        "the variable `IMGFORGE_REGISTRY_MIRRORS` has an entry `docker.io`; expected `registry=host`"
    );
    let error = Machine::new().variable("PIP_INDEX_URL", "nonsense").error();
    assert_eq!(error.to_string(), "pip's `index-url` is not the address of a service: relative URL without a base");
    assert!(matches!(Machine::new().file("etc/uv/uv.toml", "= 1").error(), Error::Read { .. }));
}

#[test]
fn certificates_of_a_registry_come_from_the_settings_or_lie_where_docker_and_podman_put_them() {
    let machine = Machine::new()
        .file(
            "home/.config/imgforge/config.toml",
            "[registry.hosts.\"registry.test:5000\"]\nca-files = [\"~/ca.pem\"]\nclient-certificate = \"/me.crt\"\n\
             client-key = \"/me.key\"\n[registry.hosts.\"other.test\"]\nca-files = [\"/other.pem\"]\n",
        )
        .variable("IMGFORGE_CLIENT_KEY_PASSWORD", "open sesame");
    let settings = machine.load();
    let root = machine.folder.path();
    let certificates = settings.registry_certificates();
    let first = HostCertificates {
        ca_files: vec![root.join("home/ca.pem")],
        client: Some(("/me.crt".into(), "/me.key".into())),
    };
    assert_eq!(certificates["registry.test:5000"], first);
    assert_eq!(certificates["other.test"].client, None);
    let folders = ["home/.config/containers", "home/.config/docker", "etc/containers", "etc/docker"];
    assert_eq!(settings.certificate_folders, folders.map(|folder| root.join(folder).join("certs.d")));
    assert_eq!(settings.client_key_password, Some(KeyPassword("open sesame".to_owned())));
    assert!(!format!("{:?}", settings.client_key_password).contains("sesame"));

    let half = Machine::new()
        .file("etc/imgforge/config.toml", "[registry.hosts.\"registry.test\"]\nclient-key = \"/me.key\"\n");
    assert_eq!(half.error().to_string(), "`client-key` needs `client-certificate` beside it");
}
