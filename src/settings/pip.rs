//! What pip was told: the index and the certificate file, from its variables and its configuration files.

use std::path::PathBuf;

use configparser::ini::{Ini, IniDefault};

use super::environment::read_file;
use super::{Environment, Error};

/// pip's `index-url`, if it has one.
pub(super) fn index_url(environment: &Environment) -> Result<Option<String>, Error> {
    value(environment, "PIP_INDEX_URL", "index-url")
}

/// pip's `cert`, if it has one.
pub(super) fn certificate(environment: &Environment) -> Result<Option<PathBuf>, Error> {
    Ok(value(environment, "PIP_CERT", "cert")?.map(|path| environment.expand(&path)))
}

fn value(environment: &Environment, variable: &str, key: &str) -> Result<Option<String>, Error> {
    if let Some(value) = environment.variable(variable) {
        return Ok(Some(value.to_owned()));
    }
    for path in files(environment) {
        let Some(text) = read_file(&path)? else { continue };
        let mut defaults = IniDefault::default();
        // A `#` inside a value is part of it, as in Python's parser.
        defaults.inline_comment_symbols = Some(Vec::new());
        defaults.multiline = true;
        let mut ini = Ini::new_from_defaults(defaults);
        let sections = ini.read(text).map_err(|cause| Error::Read { path: path.clone(), cause })?;
        let global = sections.get("global");
        let found = global.and_then(|keys| keys.get(key).or_else(|| keys.get(&key.replace('-', "_"))));
        if let Some(value) = found.and_then(Option::as_deref).map(str::trim).filter(|value| !value.is_empty()) {
            return Ok(Some(value.to_owned()));
        }
    }
    Ok(None)
}

/// pip's files, most important first. `PIP_CONFIG_FILE` naming the null device switches all of them off.
fn files(environment: &Environment) -> Vec<PathBuf> {
    let chosen = environment.variable("PIP_CONFIG_FILE");
    if chosen == Some("/dev/null") {
        return Vec::new();
    }
    let mut files: Vec<PathBuf> = chosen.map(PathBuf::from).into_iter().collect();
    files.extend(environment.variable("VIRTUAL_ENV").map(|folder| PathBuf::from(folder).join("pip.conf")));
    files.extend(environment.config_home().map(|folder| folder.join("pip/pip.conf")));
    files.extend(environment.home.as_ref().map(|home| home.join(".pip/pip.conf")));
    files.extend([environment.path("/etc/xdg/pip/pip.conf"), environment.path("/etc/pip.conf")]);
    files
}
