//! What uv was told about the default index, from its variables and `uv.toml`.

use std::path::PathBuf;

use toml::{Table, Value};

use super::environment::read_file;
use super::{Environment, Error};

/// uv's default index, if it has one.
pub(super) fn index_url(environment: &Environment) -> Result<Option<String>, Error> {
    if let Some(value) = environment.variable("UV_DEFAULT_INDEX") {
        // `name=https://...` names the index as well.
        let named = value.split_once('=').filter(|(name, _)| !name.contains([':', '/']));
        return Ok(Some(named.map_or(value, |(_, url)| url).to_owned()));
    }
    if let Some(value) = environment.variable("UV_INDEX_URL") {
        return Ok(Some(value.to_owned()));
    }
    if environment.variable("UV_NO_CONFIG").is_some_and(|value| !matches!(value, "0" | "false")) {
        return Ok(None);
    }
    for path in files(environment) {
        let Some(text) = read_file(&path)? else { continue };
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::Read { path: path.clone(), cause: error.message().to_owned() })?;
        if let Some(url) = default_of(&table) {
            return Ok(Some(url.to_owned()));
        }
    }
    Ok(None)
}

fn files(environment: &Environment) -> Vec<PathBuf> {
    if let Some(chosen) = environment.variable("UV_CONFIG_FILE") {
        return vec![PathBuf::from(chosen)];
    }
    let user = environment.config_home().map(|folder| folder.join("uv/uv.toml"));
    user.into_iter().chain([environment.path("/etc/xdg/uv/uv.toml"), environment.path("/etc/uv/uv.toml")]).collect()
}

/// The `[[index]]` with `default = true`, else the older `index-url`, at the top or under `[pip]`.
fn default_of(table: &Table) -> Option<&str> {
    let indexes = table.get("index").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let default = indexes.iter().find(|index| index.get("default").and_then(Value::as_bool) == Some(true));
    let url = default.and_then(|index| index.get("url"));
    url.or_else(|| table.get("index-url")).or_else(|| table.get("pip")?.get("index-url")).and_then(Value::as_str)
}
