//! The project's part of an image: its files, and the user that they belong to; the same by the daemonless build and by an
//! engine.

use crate::support::engine::docker;
use crate::support::forge::{Forge, standard_output};
use crate::support::{images, run};

#[test]
fn a_whole_project_is_copied_without_what_imgforge_wrote() {
    images::debian("trixie");
    let forge = Forge::new();
    let files = "files: [{from: ., to: /workspace}]\n";
    forge.write("spec.yaml", format!("name: whole\npython: \"3.13\"\npackages: [six]\n{files}"));
    forge.write("src/main.py", "print('here')\n");
    let build = |arguments: &[&str]| {
        let mut command = forge.imgforge_with_engine();
        standard_output(command.args(["build", "spec.yaml"]).args(arguments))
    };
    let first = build(&[]);
    assert_eq!(build(&["--load"]), first, "the first build left its own files in the project");
    assert_eq!(build(&["--output", "elsewhere"]), first);
    assert_eq!(build(&["--output", "else/where/deep"]), first);
    assert_eq!(build(&[]), first);
    let project = |image: &str| {
        let script = "cd /workspace && find . | sort";
        run(docker().args(["run", "--rm", image, "sh", "-c", script])).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(project("whole:latest"), [".", "./imgforge.lock", "./spec.yaml", "./src", "./src/main.py"]);

    // An engine takes whatever `.dockerignore` lets through.
    let engine = ["build", "spec.yaml", "--engine", "docker"];
    let refused = forge.imgforge_with_engine().args(engine).assert().code(2).get_output().clone();
    let said = String::from_utf8(refused.stderr).expect("UTF-8");
    insta::assert_snapshot!(said.split_once("error: ").expect("an error").1, @r"
    an engine would copy what imgforge wrote into `else/where/deep`, `elsewhere`, `generated/whole` into the image
    help: add `else/where/deep`, `elsewhere`, `generated/whole` to `.dockerignore` beside the spec
    ");
    forge.write(".dockerignore", "else*\ngenerated\n.dockerignore\n");
    assert_eq!(build(&[]), first);
    forge.imgforge_with_engine().args(engine).assert().success();
    assert_eq!(project("whole:latest"), [".", "./imgforge.lock", "./spec.yaml", "./src", "./src/main.py"]);
}

#[test]
fn the_user_of_an_image_has_a_number_of_its_own() {
    let known = "groupadd --gid 70 team && useradd --uid 1500 --gid team --home-dir /srv/app --create-home app \
                 && chmod 700 /srv/app";
    for (tag, command, owner) in [("taken", "useradd --create-home ubuntu", "1001:1001"), ("known", known, "1500:70")] {
        let base = images::changed(tag, command).reference();
        let forge = Forge::new();
        let files = "files: [{from: notes.txt, to: /workspace/}]";
        let settings = format!("python: \"3.13\"\nbase: {base}\npackages: [six]\n{files}\n");
        forge.write("spec.yaml", format!("name: user-{tag}\n{settings}"));
        forge.write("notes.txt", "");
        let image = format!("user-{tag}:latest");
        let script = "id -u; id -g; id -un; echo $HOME; stat --format='%n %a %u:%g' $HOME /workspace /workspace/notes.txt; \
                      touch /workspace/a $HOME/a";
        for how in [&["--load"][..], &["--engine", "docker"]] {
            forge.imgforge_with_engine().args(["build", "spec.yaml"]).args(how).assert().success();
            let home = if tag == "known" { "/srv/app 700" } else { "/home/app 755" };
            let (user, group) = owner.split_once(':').expect("a group");
            let (folder, _) = home.split_once(' ').expect("a mode");
            assert_eq!(
                run(docker().args(["run", "--rm", &image, "sh", "-c", script])),
                format!(
                    "{user}\n{group}\napp\n{folder}\n{home} {owner}\n/workspace 755 {owner}\n/workspace/notes.txt 644 {owner}"
                ),
                "{tag} {how:?}"
            );
        }
    }
}

#[test]
fn a_working_directory_that_the_base_has_stays_as_it_is() {
    images::debian("trixie");
    let cases = [
        ("/tmp", "/tmp 1777 0:0"),
        ("/var/tmp", "/var 755 0:0\n/var/tmp 1777 0:0"),
        ("/data/deep/work", "/data 755 1000:1000\n/data/deep 755 1000:1000\n/data/deep/work 755 1000:1000"),
    ];
    for (workdir, expected) in cases {
        let forge = Forge::new();
        forge.write("spec.yaml", format!("name: workdir\npython: \"3.13\"\npackages: [six]\nworkdir: {workdir}\n"));
        let script = "folder=$PWD; while [ $folder != / ]; do stat --format='%n %a %u:%g' $folder; \
                      folder=$(dirname $folder); done | sort";
        for how in [&["--load"][..], &["--engine", "docker"]] {
            forge.imgforge_with_engine().args(["build", "spec.yaml"]).args(how).assert().success();
            let said = run(docker().args(["run", "--rm", "workdir:latest", "sh", "-c", script]));
            assert_eq!(said, expected, "{workdir} {how:?}");
        }
    }
}

#[test]
fn folders_of_the_system_are_no_users() {
    images::debian("trixie");
    let forge = Forge::new();
    let files = "files: [{from: etc, to: /etc}, {from: lib, to: /usr/lib}, {from: data, to: /tmp}, \
                 {from: own.crt, to: /usr/share/own/}, {from: own.crt, to: /usr/libexec/own/}, \
                 {from: data, to: /var/spool/own}, {from: data, to: /run/lock}]\n";
    forge.write("spec.yaml", format!("name: system\npython: \"3.13\"\npackages: [six]\n{files}"));
    for path in ["etc/ssl/own.conf", "data/a", "lib/own.txt", "own.crt"] {
        forge.write(path, "");
    }
    forge.imgforge_with_engine().args(["build", "spec.yaml", "--load"]).assert().success();
    let script = "stat --format='%n %a %u:%g' /etc /etc/ssl /etc/ssl/own.conf /tmp /usr/share/own /usr/lib/own.txt \
                  /usr/libexec /usr/libexec/own /var/spool /var/spool/own /run/lock; readlink /lib";
    insta::assert_snapshot!(run(docker().args(["run", "--rm", "system:latest", "sh", "-c", script])), @r"
    /etc 755 0:0
    /etc/ssl 755 0:0
    /etc/ssl/own.conf 644 1000:1000
    /tmp 1777 0:0
    /usr/share/own 755 0:0
    /usr/lib/own.txt 644 1000:1000
    /usr/libexec 755 0:0
    /usr/libexec/own 755 0:0
    /var/spool 755 0:0
    /var/spool/own 755 1000:1000
    /run/lock 1777 0:0
    usr/lib
    ");
}
