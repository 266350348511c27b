//! Hides credentials before a URL is printed, logged or stored in an error.

use url::Url;

/// The URL without user name, password and the values of its query: signed download links carry tokens there.
pub fn url(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if url.query().is_some() {
        shown.set_query(Some("..."));
    }
    shown.set_fragment(None);
    shown.to_string()
}

/// [`url()`] of a text; a text that is no URL is shown as it is, up to an `@` that may end a credential.
pub fn text(text: &str) -> String {
    match Url::parse(text) {
        Ok(parsed) => url(&parsed),
        Err(_) => text.rsplit_once('@').map_or(text, |(_, rest)| rest).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn credentials_and_query_values_are_hidden() {
        assert_eq!(super::text("https://user:secret@host/path?sig=1#x"), "https://host/path?...");
        assert_eq!(super::text("https://host/simple/"), "https://host/simple/");
    }
}
