//! What an output was made from.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::presentations::Task;

/// Version of the files this program writes. Columns are only ever added; a type never changes. Since version 2 every file has a
/// checksum, and every part of judgments its number and how many there are.
pub const SCHEMA_VERSION: &str = "2";

/// The inputs that determine an output's bytes, by name: everything but place, host, time and threads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint {
    inputs: BTreeMap<String, String>,
}

/// Metadata keys of every file.
pub(crate) const KEY_VERSION: &str = "alike.schema_version";
pub(crate) const KEY_FINGERPRINT: &str = "alike.fingerprint";
pub(crate) const KEY_INPUTS: &str = "alike.inputs";

impl Fingerprint {
    /// Adds an input.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.inputs.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds several inputs, their names behind a prefix.
    #[must_use]
    pub fn with_all(mut self, prefix: &str, values: &BTreeMap<String, String>) -> Self {
        self.inputs.extend(values.iter().map(|(name, value)| (format!("{prefix}{name}"), value.clone())));
        self
    }

    /// Adds the task, unless it is the first there was: what was made before there were two is still recognised.
    #[must_use]
    pub fn with_task(self, task: Task) -> Self {
        match task {
            Task::Anchored => self,
            Task::OddOneOut => self.with("task", task.name()),
        }
    }

    /// sha256 over all inputs.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, value) in &self.inputs {
            hash.update(format!("{name}={value}\n").as_bytes());
        }
        crate::hex(&hash.finalize())
    }

    /// The metadata entries of a file made from these inputs.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let inputs = serde_json::to_string(&self.inputs).expect("a map of strings is JSON");
        BTreeMap::from([
            (KEY_VERSION.to_owned(), SCHEMA_VERSION.to_owned()),
            (KEY_FINGERPRINT.to_owned(), self.digest()),
            (KEY_INPUTS.to_owned(), inputs),
        ])
    }

    /// Whether a file's metadata tells the same inputs.
    pub fn matches(&self, metadata: &BTreeMap<String, String>) -> bool {
        metadata.get(KEY_FINGERPRINT) == Some(&self.digest())
    }

    /// Refuses a file that was made from other inputs, naming the first that differs.
    ///
    /// # Errors
    /// [`Error::Fingerprint`].
    pub fn check(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
        if self.matches(metadata) {
            return Ok(());
        }
        let theirs: BTreeMap<String, String> =
            metadata.get(KEY_INPUTS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let names: std::collections::BTreeSet<&String> = self.inputs.keys().chain(theirs.keys()).collect();
        let shown = |value: Option<&String>| value.map_or("nothing", String::as_str).to_owned();
        let differing = names.into_iter().find(|name| self.inputs.get(*name) != theirs.get(*name));
        let field = differing.cloned().unwrap_or_else(|| KEY_FINGERPRINT.to_owned());
        Err(Error::Fingerprint {
            path: path.into(),
            found: shown(theirs.get(&field)),
            expected: shown(self.inputs.get(&field)),
            field,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_differing_input_is_named() {
        let made = Fingerprint::default().with("seed", 1).with("wording", "paper");
        let wanted = Fingerprint::default().with("seed", 1).with("wording", "instruction-first");
        assert!(made.check(Path::new("f"), &made.metadata()).is_ok());
        let error = wanted.check(Path::new("f"), &made.metadata()).unwrap_err().to_string();
        assert_eq!(error, "f was made with another `wording`: paper, this run has instruction-first");
        assert!(made.check(Path::new("f"), &BTreeMap::new()).is_err());
    }
}
