//! Any `config.json` holds a login, a problem worth telling, or neither. Credential helpers are left out: they would be run.

#![no_main]

use imgforge::registry::{Alias, Config};

#[allow(dead_code, reason = "the target does not look at the secrets")]
#[path = "../../src/registry/credentials.rs"]
mod credentials;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("creds") || text.contains("credH") || text.contains('\\') {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("config.json"), bytes).expect("a file");
    let alias = Alias { api_host: "api.invalid".into(), credential_key: Some("https://hub.invalid/v1/".into()) };
    let config = Config {
        docker_config: Some(folder.path().to_owned()),
        aliases: [("docker.io".to_owned(), alias)].into(),
        ..Config::default()
    };
    let credentials = credentials::Credentials::new(&config);
    for registry in ["docker.io", "registry.invalid:5000"] {
        let login = credentials.login(registry);
        if let Some(secret) = login.secret {
            assert!(!secret.user().is_empty());
        }
        assert!(login.problem.is_none_or(|problem| !problem.contains('\n')), "a problem is one line");
    }
});
