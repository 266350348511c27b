//! The quickstart's stack: PostgreSQL with its seed, MLflow's server as imgforge makes it, and the training that uses both.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::engine::docker;
use crate::support::forge::Forge;
use crate::support::quickstart::{Quickstart, quickstart};
use crate::support::{files_below, images, output, run};

/// The running stack; dropping it removes its containers and volumes, also when an assertion fails.
struct Stack(&'static Quickstart);

impl Stack {
    fn start(example: &'static Quickstart) -> Self {
        let stack = Self(example);
        // Port 0 is any free one.
        let mut up = example.imgforge();
        up.args(["up", "spec.yaml", "--", "--quiet-pull"]).env("POSTGRES_PORT", "0").env("MLFLOW_PORT", "0");
        up.assert().success();
        stack
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = docker();
        command.args(["compose", "--file"]).arg(self.0.path("generated/quickstart/compose.yaml")).args(arguments);
        command
    }

    /// State and exit code of the stack's own container once it has ended; `docker compose wait` knows only running ones.
    fn end_of_app(&self) -> String {
        let deadline = Instant::now() + Duration::from_mins(5);
        loop {
            let state = run(&mut self.compose(&["ps", "--all", "--format", "{{.State}} {{.ExitCode}}", "app"]));
            if !state.starts_with("running") || Instant::now() > deadline {
                return state;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// The answer of a query, one line a row.
    fn query(&self, query: &str) -> String {
        let psql =
            ["exec", "-T", "postgres", "psql", "--username=app", "--tuples-only", "--no-align", "--command", query];
        run(&mut self.compose(&psql))
    }

    /// An answer of MLflow's REST interface through its published port.
    fn mlflow(&self, path: &str, body: Option<Value>) -> Value {
        let address = run(&mut self.compose(&["port", "mlflow", "5000"]));
        assert!(address.starts_with("127.0.0.1:"), "published beyond this machine: {address}");
        let client = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
        let url = format!("http://{address}/api/2.0/{path}");
        let request = match &body {
            Some(body) => client.post(url).header("content-type", "application/json").body(body.to_string()),
            None => client.get(url),
        };
        let answer = request.send().expect("MLflow answers");
        let (status, text) = (answer.status(), answer.text().expect("text"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = self.compose(&["down", "--volumes", "--timeout", "5"]).output();
    }
}

#[test]
fn training_reads_and_writes_the_database_and_tracks_its_run() {
    images::postgres();
    let stack = Stack::start(quickstart());
    for service in ["postgres", "mlflow"] {
        let state = run(&mut stack.compose(&["ps", "--format", "{{.Health}}", service]));
        assert_eq!(state, "healthy", "{service}");
    }
    assert_eq!(stack.query("SELECT count(*) FROM customers"), "240");

    // The stack's own container trains once when it starts.
    assert_eq!(stack.end_of_app(), "exited 0");
    let trained = run(&mut stack.compose(&["logs", "--no-log-prefix", "app"]));
    let (_, run_id) = trained.lines().find_map(|line| line.rsplit_once(", run ")).expect("a run");
    let rows = stack.query("SELECT run_id, count(*) FROM predictions GROUP BY run_id");
    assert_eq!(rows, format!("{run_id}|240"), "a prediction a customer");

    // A command by hand has the same connections.
    let by_hand = "import os, psycopg2; c = psycopg2.connect(os.environ['DATABASE_URL']).cursor(); \
                   c.execute('SELECT run_id FROM predictions LIMIT 1'); print(*c.fetchone(), os.environ['MLFLOW_TRACKING_URI'])";
    let found = run(&mut stack.compose(&["run", "--rm", "-T", "app", "python", "-c", by_hand]));
    assert_eq!(found, format!("{run_id} http://mlflow:5000"));
    let range = stack.query("SELECT min(churn_probability) > 0 AND max(churn_probability) < 1 FROM predictions");
    assert_eq!(range, "t");

    let tracked = &stack.mlflow(&format!("mlflow/runs/get?run_id={run_id}"), None)["run"];
    assert_eq!(tracked["info"]["status"], "FINISHED");
    let metric = &tracked["data"]["metrics"][0];
    assert_eq!(metric["key"], "roc_auc");
    assert!(metric["value"].as_f64().is_some_and(|value| (0.5..1.0).contains(&value)), "{metric}");
    assert_eq!(tracked["data"]["params"], json!([{"key": "C", "value": "1.0"}, {"key": "max_iter", "value": "200"}]));

    // Since version 3 a model is a thing of its own beside its run.
    let experiment = tracked["info"]["experiment_id"].as_str().expect("an experiment");
    let model = tracked["outputs"]["model_outputs"][0]["model_id"].as_str().expect("a model");
    let folder = format!("mlflow-artifacts/artifacts?path={experiment}/models/{model}/artifacts");
    let artifacts = stack.mlflow(&folder, None);
    let files: Vec<&str> =
        artifacts["files"].as_array().expect("files").iter().filter_map(|file| file["path"].as_str()).collect();
    assert!(files.contains(&"MLmodel") && files.iter().any(|file| file.contains(".skops")), "{artifacts}");

    // MLflow keeps its tables in a database of its own, which the application's user does not see into.
    let database = stack.query("SELECT datname FROM pg_database WHERE datname = 'mlflow'");
    assert_eq!(database, "mlflow");
}

#[test]
fn secrets_stay_in_one_file() {
    let example = quickstart();
    let generated = example.path("generated/quickstart");
    assert_eq!(fs::metadata(generated.join(".env")).expect("the secrets").mode() & 0o777, 0o600);
    let text = fs::read_to_string(generated.join(".env")).expect("the secrets");
    let secrets: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(secrets.len(), 2, "a password of the application and one of MLflow");
    assert!(secrets.iter().all(|secret| secret.len() == 32), "secrets of 24 random bytes");
    assert_ne!(secrets[0], secrets[1]);

    // Everything that was generated, and layers unpacked: they are compressed.
    let patterns = example.path("../secrets");
    fs::write(&patterns, secrets.join("\n")).expect("a file");
    let script = "find . -type f ! -path ./generated/quickstart/.env | while read -r file; do \
                  gzip -dcf \"$file\" | grep --text --quiet --fixed-strings --file=\"$0\" && echo \"$file\"; echo . >&2; done; true";
    let mut search = Command::new("sh");
    let found = output(search.args(["-c", script]).arg(&patterns).current_dir(example.path("")));
    fs::remove_file(patterns).expect("the file");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files that hold a secret");
    let searched = String::from_utf8_lossy(&found.stderr).lines().filter(|line| *line == ".").count();
    assert_eq!(searched + 1, files_below(&example.path("")).len());
}

#[test]
fn another_render_keeps_the_secrets() {
    let forge = Forge::new();
    forge.locked_quickstart();
    forge.imgforge().args(["render", "spec.yaml"]).assert().success();
    let first = forge.read("generated/quickstart/.env");
    forge.imgforge().args(["render", "spec.yaml"]).assert().success();
    assert_eq!(forge.read("generated/quickstart/.env"), first);
    forge.imgforge().args(["render", "spec.yaml", "--output", "elsewhere"]).assert().success();
    assert_ne!(forge.read("elsewhere/.env"), first, "each stack has secrets of its own");
}

#[test]
fn there_is_no_stack_before_a_build() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: nothing\n");
    let output = forge.imgforge_with_engine().args(["up", "spec.yaml"]).assert().code(2).get_output().clone();
    assert_eq!(output.stdout, b"");
    insta::assert_snapshot!(String::from_utf8(output.stderr).expect("UTF-8"), @r"
    error: there is no stack at `generated/nothing`
    help: run `imgforge build SPEC --load` first
    ");
}
