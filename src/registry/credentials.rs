//! Finds the user for a registry where Docker and Podman keep it: `config.json` and `auth.json`, with credential helpers.
//!
//! No entry means anonymous. A helper that fails or a file that cannot be read also means anonymous, because public images
//! must not need them; the problem is kept and told when the registry then refuses.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::Config;

/// What is stored for one registry.
#[derive(Clone, Default)]
pub(super) struct Login {
    /// The secret, if there is one.
    pub(super) secret: Option<Secret>,
    /// Why it could not be read, if that is the case.
    pub(super) problem: Option<String>,
}

/// A way to prove who we are.
#[derive(Clone)]
pub(super) enum Secret {
    /// User name and password.
    Password {
        /// User name.
        user: String,
        /// Password or access token.
        password: String,
    },
    /// A refresh token for the OAuth2 token service.
    IdentityToken(String),
}

impl Secret {
    /// The name for messages.
    pub(super) fn user(&self) -> String {
        match self {
            Self::Password { user, .. } => user.clone(),
            Self::IdentityToken(_) => "<token>".to_owned(),
        }
    }
}

/// Looks credentials up, once per registry.
pub(super) struct Credentials {
    files: Vec<PathBuf>,
    keys: BTreeMap<String, String>,
    known: Mutex<HashMap<String, Login>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        let files = match &config.docker_config {
            Some(folder) => vec![folder.join("config.json")],
            None => default_files(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)),
        };
        let keys =
            config.aliases.iter().filter_map(|(name, alias)| Some((name.clone(), alias.credential_key.clone()?)));
        Self { files, keys: keys.collect(), known: Mutex::default() }
    }

    /// What is stored for the registry.
    pub(super) fn login(&self, registry: &str) -> Login {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(registry.to_owned()).or_insert_with(|| self.look_up(registry)).clone()
    }

    fn look_up(&self, registry: &str) -> Login {
        let names = [self.keys.get(registry).map(String::as_str), Some(registry)];
        let mut login = Login::default();
        for path in &self.files {
            for name in names.into_iter().flatten() {
                let Ok(file) = File::open(path) else { continue };
                match docker_credential::get_credential_from_reader(BufReader::new(file), name) {
                    Ok(DockerCredential::IdentityToken(token)) => {
                        return Login { secret: Some(Secret::IdentityToken(token)), problem: None };
                    }
                    Ok(DockerCredential::UsernamePassword(user, password)) if !user.is_empty() => {
                        return Login { secret: Some(Secret::Password { user, password }), problem: None };
                    }
                    Ok(DockerCredential::UsernamePassword(..)) => {}
                    Err(error) if is_absent(&error) => {}
                    Err(error) => login.problem = Some(describe(&error, &path.display().to_string())),
                }
            }
        }
        login
    }
}

/// Docker's file, then those of Podman, in the order the tools themselves look.
fn default_files(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let home = variable("HOME");
    let docker = variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    let podman = variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    let user = variable("XDG_CONFIG_HOME").or_else(|| home.map(|home| home.join(".config")));
    let files = [
        docker.map(|folder| folder.join("config.json")),
        variable("REGISTRY_AUTH_FILE"),
        podman,
        user.map(|folder| folder.join("containers/auth.json")),
    ];
    files.into_iter().flatten().collect()
}

fn is_absent(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound => true,
        // The helpers' protocol has no code for it, only this text.
        CredentialRetrievalError::HelperFailure { stdout, .. } => stdout.contains("credentials not found"),
        _ => false,
    }
}

/// A helper's output is left out: what it prints may hold the secret.
fn describe(error: &CredentialRetrievalError, path: &str) -> String {
    match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => {
            format!("the credential helper `{helper}` of `{path}` failed")
        }
        CredentialRetrievalError::HelperCommunicationError => {
            format!("a credential helper of `{path}` could not be started")
        }
        other => format!("`{path}`: {}", other.to_string().to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::registry::Alias;

    fn credentials(json: &str) -> (tempfile::TempDir, Credentials) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("config.json"), json).expect("a config");
        let alias = Alias { api_host: "api.hub.test".into(), credential_key: Some("https://hub.test/v1/".into()) };
        let config = Config {
            docker_config: Some(folder.path().to_owned()),
            aliases: BTreeMap::from([("docker.io".into(), alias)]),
            ..Config::default()
        };
        let credentials = Credentials::new(&config);
        (folder, credentials)
    }

    fn user(credentials: &Credentials, registry: &str) -> Option<String> {
        credentials.login(registry).secret.map(|secret| secret.user())
    }

    #[test]
    fn users_are_found_by_host_and_by_an_aliass_key() {
        let json = r#"{"auths":{"registry.test:5000":{"auth":"YW5uOnNlY3JldA=="},"https://hub.test/v1/":{"auth":"aHViOnNlY3JldA=="},
            "token.test":{"identitytoken":"refresh"}}}"#;
        let (_folder, credentials) = credentials(json);
        assert_eq!(user(&credentials, "registry.test:5000").as_deref(), Some("ann"));
        assert_eq!(user(&credentials, "docker.io").as_deref(), Some("hub"));
        assert_eq!(user(&credentials, "token.test").as_deref(), Some("<token>"));
        assert_eq!(user(&credentials, "registry.test"), None);
        assert_eq!(credentials.login("registry.test").problem, None);
    }

    #[test]
    fn a_broken_store_is_a_note_and_not_an_obstacle() {
        let (folder, damaged) = credentials("{");
        let login = damaged.login("registry.test");
        assert!(login.secret.is_none());
        let path = folder.path().join("config.json").display().to_string();
        assert_eq!(login.problem, Some(format!("`{path}`: unable to read config")));

        let (folder, missing) = credentials(r#"{"credsStore":"no-such-helper"}"#);
        let path = folder.path().join("config.json").display().to_string();
        let problem = missing.login("registry.test").problem;
        assert_eq!(problem, Some(format!("a credential helper of `{path}` could not be started")));
    }

    #[test]
    fn files_are_looked_for_where_docker_and_podman_put_them() {
        let variables = |name: &str| match name {
            "HOME" => Some(PathBuf::from("/home/ann")),
            "XDG_RUNTIME_DIR" => Some(PathBuf::from("/run/user/7")),
            _ => None,
        };
        let expected = [
            "/home/ann/.docker/config.json",
            "/run/user/7/containers/auth.json",
            "/home/ann/.config/containers/auth.json",
        ];
        assert_eq!(default_files(variables), expected.map(PathBuf::from));
    }
}
