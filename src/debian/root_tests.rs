//! Tests of `root` on invented packages.

use super::super::testing::DebBuilder;
use super::*;

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn build(&self, debs: Vec<DebBuilder>, status: Option<&str>) -> Result<Root, Error> {
        let debs: Vec<_> = debs.into_iter().map(|deb| deb.write(self.0.path())).collect();
        let below = status.map(|status| FilesBelow { status: status.as_bytes().to_vec(), ..FilesBelow::default() });
        build_root(&debs, &RootOptions { spool_folder: self.0.path().to_owned(), below })
    }
}

/// Paths of a tree but those of dpkg's records, with what stands there.
fn listing(root: &Root) -> Vec<String> {
    let is_record = |path: &str| path.starts_with("var");
    let describe = |(path, node): (&str, &Node)| match &node.kind {
        NodeKind::Directory => format!("{path}/"),
        NodeKind::File(content) => format!("{path} {}", content.length()),
        NodeKind::Symlink(target) => format!("{path} -> {target}"),
        NodeKind::Hardlink(target) => format!("{path} = {target}"),
    };
    root.nodes().filter(|(path, _)| !is_record(path)).map(describe).collect()
}

fn text(root: &Root, path: &str) -> String {
    String::from_utf8(root.read(path).expect("readable").expect(path)).expect("text")
}

#[test]
fn moves_what_is_at_the_top_under_usr() {
    let root = World::new()
        .build(
            vec![
                DebBuilder::new("a", "1")
                    .directory("./", 0o755)
                    .directory("./bin/", 0o755)
                    .file_with("./bin/su", b"12345", 0o4755, 0, 0)
                    .hardlink("./bin/sv", "./bin/su")
                    .symlink("./bin/sh", "dash")
                    .symlink("./lib/up.so", "../usr/lib/real.so")
                    .symlink("./usr/bin/su", "/bin/su")
                    .file("./lib64/ld.so", b"x"),
            ],
            None,
        )
        .expect("built");
    assert_eq!(
        listing(&root),
        [
            "bin -> usr/bin",
            "lib -> usr/lib",
            "lib64 -> usr/lib64",
            "sbin -> usr/sbin",
            "usr/",
            "usr/bin/",
            "usr/bin/sh -> dash",
            "usr/bin/su 5",
            "usr/bin/sv = usr/bin/su",
            "usr/lib/",
            "usr/lib/up.so -> /usr/lib/real.so",
            "usr/lib64/",
            "usr/lib64/ld.so 1",
            "usr/sbin/",
        ]
    );
    let node = root.get("usr/bin/su").expect("there");
    assert_eq!((node.mode, node.uid, node.gid), (0o4755, 0, 0));
    assert_eq!(text(&root, "usr/bin/su"), "12345");
}

#[test]
fn leaves_out_documentation_but_licences() {
    let root = World::new()
        .build(
            vec![
                DebBuilder::new("a", "1")
                    .directory("./usr/share/doc/a/", 0o755)
                    .file("./usr/share/doc/a/copyright", b"licence")
                    .file("./usr/share/doc/a/changelog.gz", b"x")
                    .symlink("./usr/share/doc/b", "a")
                    .symlink("./usr/share/doc/a/more", "b")
                    .file("./usr/share/man/man1/a.1.gz", b"x")
                    .file("./usr/share/locale/de/LC_MESSAGES/a.mo", b"x")
                    .file("./usr/share/locale/C/a.mo", b"x")
                    .file("./usr/share/lintian/overrides/a", b"x"),
            ],
            Some(""),
        )
        .expect("built");
    assert_eq!(
        listing(&root),
        [
            "usr/",
            "usr/share/",
            "usr/share/doc/",
            "usr/share/doc/a/",
            "usr/share/doc/a/copyright 7",
            "usr/share/doc/b -> a",
            "usr/share/locale/",
            "usr/share/locale/C/",
            "usr/share/locale/C/a.mo 1",
        ]
    );
}

#[test]
fn records_packages_for_dpkg() {
    let root = World::new()
        .build(
            vec![
                DebBuilder::new("b", "2").field("Multi-Arch: same").script("md5sums", "0 usr/b\n").file("./usr/b", b""),
                DebBuilder::new("a", "1-1").field("Depends: b,\n c").directory("./", 0o755).file("./bin/a", b""),
            ],
            None,
        )
        .expect("built");
    assert_eq!(
        text(&root, "var/lib/dpkg/status"),
        "Package: a\nStatus: install ok installed\nVersion: 1-1\nArchitecture: amd64\nDepends: b,\n c\nDescription: invented\n\n\
         Package: b\nStatus: install ok installed\nVersion: 2\nArchitecture: amd64\nMulti-Arch: same\nDescription: invented\n"
    );
    assert_eq!(text(&root, "var/lib/dpkg/info/a.list"), "/.\n/bin/a\n");
    assert_eq!(text(&root, "var/lib/dpkg/info/b:amd64.md5sums"), "0 usr/b\n");
    assert_eq!(text(&root, "var/lib/dpkg/info/format"), "1\n");
}

#[test]
fn on_an_image_it_holds_new_files_and_the_whole_status() {
    let status = "Package: base-passwd\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n";
    let master = "./usr/share/base-passwd/passwd.master";
    let root = World::new()
        .build(vec![DebBuilder::new("base-passwd", "2").file(master, b"root:*:0:0::/root:/bin/sh\n")], Some(status))
        .expect("built");
    assert!(root.get("etc/passwd").is_none(), "the image's own accounts stay");
    assert!(root.get("bin").is_none());
    assert_eq!(
        text(&root, "var/lib/dpkg/status"),
        "Package: base-passwd\nStatus: install ok installed\nVersion: 2\nArchitecture: amd64\nDescription: invented\n"
    );
}

#[test]
fn makes_what_scripts_would_have_made() {
    let known = "#!/bin/sh\nset -e\ndo-something-known-by-name\n";
    let certificates = DebBuilder::new("ca-certificates", "1")
        .script("postinst", known)
        .file("./usr/share/ca-certificates/mozilla/B.crt", b"second")
        .file("./usr/share/ca-certificates/mozilla/A.crt", b"first\n");
    let accounts = DebBuilder::new("base-passwd", "1")
        .file("./usr/share/base-passwd/passwd.master", b"root:*:0:0:root:/root:/bin/bash\nnobody:*:1:1::/:/x\n")
        .file("./usr/share/base-passwd/group.master", b"root:*:0:\n");
    let root = World::new()
        .build(vec![certificates, accounts, DebBuilder::new("base-files", "1"), DebBuilder::new("tzdata", "1")], None)
        .expect("built");
    assert_eq!(text(&root, "etc/ssl/certs/ca-certificates.crt"), "first\nsecond\n");
    assert_eq!(text(&root, "etc/ca-certificates.conf"), "mozilla/A.crt\nmozilla/B.crt\n");
    assert_eq!(text(&root, "etc/shadow"), "root:*::0:99999:7:::\nnobody:*::0:99999:7:::\n");
    assert_eq!(root.get("etc/shadow").map(|node| (node.mode, node.gid)), Some((0o640, 42)));
    assert_eq!(text(&root, "etc/gshadow"), "root:*::\n");
    assert_eq!(root.get("tmp").map(|node| node.mode), Some(0o1777));
    assert_eq!(root.get("etc/localtime"), Some(&Node::symlink("/usr/share/zoneinfo/Etc/UTC")));
}

#[test]
fn links_the_alternative_with_the_highest_priority() {
    let awk = |name: &str, priority: u32| {
        DebBuilder::new(name, "1").file(&format!("./bin/{name}"), b"").script(
            "postinst",
            &format!(
                "#!/bin/sh\nset -e\n# Automatically added by dh_installalternatives/13\n\
                 update-alternatives --install /bin/awk awk /bin/{name} {priority} \\\n \
                 --slave /usr/share/man/awk.1 awk.1 /usr/share/man/{name}.1\n# End automatically added section\n"
            ),
        )
    };
    let root = World::new().build(vec![awk("gawk", 10), awk("mawk", 5)], Some("")).expect("built");
    assert_eq!(
        listing(&root),
        [
            "etc/",
            "etc/alternatives/",
            "etc/alternatives/awk -> /bin/gawk",
            "usr/",
            "usr/bin/",
            "usr/bin/awk -> /etc/alternatives/awk",
            "usr/bin/gawk 0",
            "usr/bin/mawk 0",
        ]
    );
}

#[test]
fn refuses_a_script_that_is_not_known() {
    let deb = DebBuilder::new("daemon", "1").script("postinst", "#!/bin/sh\nadduser --system daemon\n");
    let error = World::new().build(vec![deb], None).expect_err("refused");
    assert_eq!(error.to_string(), "package `daemon` has a `postinst` script that is not known to be replaceable");
    assert_eq!(crate::diagnostic::Hint::notes(&error), ["the line is `adduser --system daemon`"]);
}

#[test]
fn makes_the_accounts_that_packages_declare() {
    let snippet = "#!/bin/sh\nset -e\n# Automatically added by dh_installsysusers/13.24\n\
                   systemd-sysusers daemon.conf\n# End automatically added section\n";
    let daemon = |line: &str| {
        let file = "./usr/lib/sysusers.d/daemon.conf";
        DebBuilder::new("daemon", "1").script("postinst", snippet).file(file, line.as_bytes())
    };
    let root = World::new().build(vec![daemon("u daemon - \"A daemon\" /run\n")], Some("")).expect("built");
    assert_eq!(text(&root, "etc/passwd"), "daemon:x:999:999:A daemon:/run:/usr/sbin/nologin\n");
    let error = World::new().build(vec![daemon("u daemon %m\n")], Some("")).expect_err("refused");
    assert_eq!(error.to_string(), "package `daemon` declares accounts in a way that is not known: `u daemon %m`");
}

#[test]
fn refuses_paths_outside_the_root() {
    let refused = |deb: DebBuilder| match World::new().build(vec![deb], None) {
        Err(Error::BadPath { path, cause, .. }) => format!("{path} {cause}"),
        other => panic!("{other:?}"),
    };
    let deb = || DebBuilder::new("a", "1");
    assert_eq!(refused(deb().file("./../etc/passwd", b"x")), "./../etc/passwd leaves the root");
    assert_eq!(refused(deb().file("usr/../../x", b"x")), "usr/../../x leaves the root");
    assert_eq!(refused(deb().hardlink("./a", "../../etc/shadow")), "./a links out of the root");
    assert_eq!(refused(deb().hardlink("./a", "b")), "a links to a file that is not there");
    assert_eq!(
        refused(deb().symlink("./usr/out", "../../..").file("./usr/out/x", b"x")),
        "./usr/out/x leaves the root through links"
    );
    assert_eq!(
        refused(deb().symlink("./a", "b").symlink("./b", "a").file("./a/x", b"x")),
        "./a/x leaves the root through links"
    );
    assert_eq!(refused(deb().special("./dev/x")), "./dev/x is no file, folder or link that an image can hold");
    // An absolute path is one from the top of the root.
    let root = World::new().build(vec![deb().file("/etc/x", b"1")], Some("")).expect("built");
    assert_eq!(listing(&root), ["etc/", "etc/x 1"]);
}

#[test]
fn a_file_belongs_to_one_package_or_to_the_one_that_replaces() {
    let with = |name: &str, content: &[u8], field: &str| {
        let deb = DebBuilder::new(name, "1").file("./usr/x", content);
        if field.is_empty() { deb } else { deb.field(field) }
    };
    match World::new().build(vec![with("b", b"b", ""), with("a", b"a", "")], None) {
        Err(Error::FileConflict { first, second, path }) => {
            assert_eq!((first.as_str(), second.as_str(), path.as_str()), ("a", "b", "/usr/x"));
        }
        other => panic!("{other:?}"),
    }
    let replaced = |debs| text(&World::new().build(debs, None).expect("built"), "usr/x");
    assert_eq!(replaced(vec![with("a", b"a", ""), with("b", b"b", "Replaces: a")]), "b");
    assert_eq!(replaced(vec![with("a", b"a", "Replaces: b (<< 2)"), with("b", b"b", "")]), "a");
}

#[test]
fn follows_links_that_packages_ship_for_folders() {
    let root = World::new()
        .build(
            vec![
                DebBuilder::new("a", "1").directory("./opt/real/", 0o755).symlink("./opt/link", "real"),
                DebBuilder::new("b", "1").directory("./opt/link/", 0o755).file("./opt/link/x", b"1"),
                DebBuilder::new("c", "1").directory("./var/run/c/", 0o755).file("./var/lock/c", b""),
            ],
            Some(""),
        )
        .expect("built");
    assert_eq!(
        listing(&root),
        ["opt/", "opt/link -> real", "opt/real/", "opt/real/x 1", "run/", "run/c/", "run/lock/", "run/lock/c 0"]
    );
}

#[test]
fn refuses_a_file_that_is_not_what_the_lock_says() {
    let world = World::new();
    let (deb, path) = DebBuilder::new("a", "1").write(world.0.path());
    let options = RootOptions { spool_folder: world.0.path().to_owned(), below: None };
    let error = build_root(&[(LockedDeb { version: "2".to_owned(), ..deb }, path)], &options).expect_err("refused");
    assert_eq!(error.to_string(), "`a` is not a readable .deb file: its `Version` is `1`, but the lock says `2`");
}

#[test]
fn the_order_of_the_argument_does_not_matter() {
    let debs = || vec![DebBuilder::new("a", "1").file("./x", b"1"), DebBuilder::new("b", "1").file("./y", b"22")];
    let forwards = World::new().build(debs(), None).expect("built");
    let backwards = World::new().build(debs().into_iter().rev().collect(), None).expect("built");
    assert!(forwards.nodes().eq(backwards.nodes()));
    assert_eq!(text(&backwards, "y"), "22");
}
