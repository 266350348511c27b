//! The real parts of the tests work on this machine. When one of these fails, look here before at any other end-to-end test.

use std::fs;

use crate::support::engine::docker;
use crate::support::forge::Forge;
use crate::support::{certificates, images, run};

#[test]
fn the_engine_answers() {
    let version = run(docker().args(["version", "--format", "{{.Server.Version}}"]));
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).expect("a version");
    assert!(major >= 23, "BuildKit is the engine's default builder since 23, this is {version}");
}

#[test]
fn a_container_of_a_stand_in_runs() {
    let debian = images::debian("bookworm");
    let release = run(docker().args(["run", "--rm", &debian.mirrored(), "cat", "/etc/debian_version"]));
    assert!(release.starts_with("12."), "{release}");
}

#[test]
fn the_engine_finds_a_stand_in_by_its_public_name() {
    let debian = images::debian("bookworm");
    let pinned = format!("debian@{}", debian.digest());
    run(docker().args(["pull", "--quiet", &pinned]));
    let digests = run(docker().args(["image", "inspect", "--format", "{{json .RepoDigests}}", &pinned]));
    assert!(digests.contains(&format!("\"{pinned}\"")), "{digests}");
}

#[test]
fn a_build_step_reaches_the_package_index_with_the_machines_certificates() {
    let python = images::python_slim("3.13");
    let forge = Forge::new();
    let dockerfile = format!(
        "FROM {}\n\
         RUN python -m venv /opt/venv\n\
         RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=true \
         /opt/venv/bin/pip install --quiet six==1.16.0\n\
         CMD [\"/opt/venv/bin/python\", \"-c\", \"import six, sys; print(six.__version__, sys.base_prefix)\"]\n",
        python.reference()
    );
    forge.write("Dockerfile", dockerfile);
    let secret = format!("id=ca,src={}", certificates().display());
    let image = run(docker().args(["build", "--quiet", "--secret", &secret]).arg(forge.path("")));
    assert_eq!(run(docker().args(["run", "--rm", &image])), "1.16.0 /usr/local");
}

#[test]
fn compose_brings_the_database_to_healthy_with_its_seed() {
    let postgres = images::postgres();
    let forge = Forge::new();
    forge.write("seed.sql", "CREATE TABLE customer (name text);\nINSERT INTO customer VALUES ('Ada'), ('Grace');\n");
    forge.write("password", "not a secret\n");
    forge.write(
        "compose.yaml",
        format!(
            "services:\n\
             \x20 postgres:\n\
             \x20   image: {}@{}\n\
             \x20   environment: {{POSTGRES_USER: app, POSTGRES_DB: shop, POSTGRES_PASSWORD_FILE: /run/secrets/password}}\n\
             \x20   secrets: [password]\n\
             \x20   volumes: [./seed.sql:/docker-entrypoint-initdb.d/10-seed.sql:ro]\n\
             \x20   ports: [127.0.0.1::5432]\n\
             \x20   healthcheck:\n\
             \x20     test: [CMD, pg_isready, --host=127.0.0.1, --username=app, --dbname=shop]\n\
             \x20     interval: 1s\n\
             \x20     retries: 60\n\
             secrets: {{password: {{file: ./password}}}}\n",
            postgres.reference().trim_start_matches("docker.io/library/"),
            postgres.digest(),
        ),
    );
    let file = forge.path("compose.yaml").display().to_string();
    let compose = |arguments: &[&str]| run(docker().args(["compose", "--file", &file]).args(arguments));

    compose(&["up", "--wait", "--quiet-pull"]);
    let query = "SELECT string_agg(name, ' ' ORDER BY name) FROM customer";
    let url = "postgresql://app:not%20a%20secret@postgres/shop";
    let names = compose(&["exec", "-T", "postgres", "psql", "--tuples-only", "--no-align", "--command", query, url]);
    let published = compose(&["port", "postgres", "5432"]);
    compose(&["down", "--volumes", "--timeout", "5"]);

    assert_eq!(names, "Ada Grace");
    assert!(published.starts_with("127.0.0.1:"), "{published}");
}

#[test]
fn the_program_sees_only_its_own_home() {
    let forge = Forge::new();
    let command = forge.imgforge();
    let home = command.get_envs().find(|(name, _)| *name == "HOME").and_then(|(_, value)| value).expect("HOME is set");
    assert_eq!(home, forge.home());
    assert_eq!(fs::read_dir(forge.home()).expect("the home").count(), 0);
}
