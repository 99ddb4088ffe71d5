//! What is wrong with a TOML file, in words.

use std::path::Path;

use crate::error::Error;

/// A TOML fault with its line, an unknown key with the nearest known one.
pub(crate) fn toml_error(path: &Path, text: &str, error: &toml::de::Error, expected: &str) -> Error {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let message = error.message();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut names = rest.split('`').skip(1).step_by(2);
        let key = names.next().unwrap_or_default().to_owned();
        let nearest = nearest(&key, names).map(str::to_owned);
        return Error::UnknownKey { path: path.into(), key, line, nearest };
    }
    let place = line.map(|line| format!(" on line {line}")).unwrap_or_default();
    Error::Format { path: path.into(), found: format!("{message}{place}"), expected: expected.into() }
}

/// The known name that is spelled most alike, if any is.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let similar = known.map(|known| (strsim::jaro_winkler(name, known), known));
    similar.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(similarity, _)| *similarity > 0.6).map(|(_, known)| known)
}
