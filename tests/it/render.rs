//! Rendered files as their readers see them: hadolint and Docker Compose take every golden of `tests/cases/render`. Neither
//! needs a daemon; both must be on `PATH`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const CASES: [&str; 4] = ["cpu", "cuda", "rocm", "services"];

fn generated(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/render").join(case).join("generated")
}

fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|error| panic!("these tests need `{program}` on PATH: {error}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is made");
    for entry in fs::read_dir(from).expect("the folder is listed") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the file is copied");
        }
    }
}

/// `docker compose config` with these files in `folder`, in an environment that sets none of the stack's variables.
fn compose_config(folder: &Path, files: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.arg("compose").current_dir(folder);
    for name in ["POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "COMPOSE_FILE"] {
        command.env_remove(name);
    }
    for file in files {
        command.args(["--file", file]);
    }
    run(command.args(["config", "--format", "json"]))
}

fn parsed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("Compose answers in JSON")
}

#[test]
fn hadolint_has_nothing_to_say() {
    for case in CASES {
        for name in ["Dockerfile", "services/mlflow/Dockerfile"] {
            let path = generated(case).join(name);
            if path.exists() {
                let output = run(Command::new("hadolint").arg("--no-color").arg(&path));
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success() && text.is_empty(), "{case}/{name}:\n{text}");
            }
        }
    }
}

#[test]
fn compose_takes_every_stack_with_the_secrets_made_for_it() {
    for case in CASES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&generated(case), folder.path());
        let has_secrets = imgforge::render::ensure_secrets(folder.path()).expect("secrets are made");
        assert_eq!(has_secrets, matches!(case, "cuda" | "services"), "{case}");
        let stack = parsed(&compose_config(folder.path(), &["compose.yaml"]));
        let url = &stack["services"]["app"]["environment"]["DATABASE_URL"];
        if has_secrets {
            let secrets = fs::read_to_string(folder.path().join(".env")).expect("secrets are readable");
            let password = secrets.lines().find_map(|line| line.strip_prefix("POSTGRES_PASSWORD=")).expect("a secret");
            assert_eq!(url, &Value::from(format!("postgresql://app:{password}@postgres:5432/app")), "{case}");
        } else {
            assert_eq!(url, &Value::Null, "{case}");
        }
        for (name, service) in stack["services"].as_object().expect("services") {
            for port in service["ports"].as_array().into_iter().flatten() {
                assert_eq!(port["host_ip"], "127.0.0.1", "{case}: {name}");
            }
        }
    }
}

#[test]
fn compose_refuses_a_stack_without_its_secrets() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&generated("services"), folder.path());
    let output = compose_config(folder.path(), &["compose.yaml"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("run imgforge render, which makes .env"), "{text}");
}

#[test]
fn the_override_takes_the_card_away() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&generated("cuda"), folder.path());
    imgforge::render::ensure_secrets(folder.path()).expect("secrets are made");
    let with = parsed(&compose_config(folder.path(), &["compose.yaml"]));
    assert_eq!(with["services"]["app"]["deploy"]["resources"]["reservations"]["devices"][0]["driver"], "nvidia");
    let without = parsed(&compose_config(folder.path(), &["compose.yaml", "compose.cpu.yaml"]));
    assert_eq!(without["services"]["app"]["deploy"], Value::Null);
    assert_eq!(without["services"]["app"]["image"], with["services"]["app"]["image"]);
}
