//! The things being judged.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Position of a concept in its [`Concepts`] list.
pub type ConceptId = u32;

/// One thing being judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concept {
    /// The name as it stands in the prompt; unique in a list.
    pub name: String,
    /// Category for colours and for the built-in reference.
    pub category: Option<String>,
    /// Which sense of the word is meant.
    pub definition: Option<String>,
    /// The row of the THINGS data set that has this sense (`mouse2`), where the list says so.
    pub things_id: Option<String>,
}

/// A checked list of concepts: unique names, in UTF-8 byte order, at least three.
///
/// The order does not depend on the file the list came from, so [`ConceptId`]s and triplet ids
/// mean the same wherever the same concepts are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concepts {
    list: Vec<Concept>,
    ids: HashMap<String, ConceptId>,
    as_listed: Vec<ConceptId>,
}

impl Concepts {
    /// Sorts and checks a list.
    ///
    /// # Errors
    /// [`Error::TooFew`] below three concepts, [`Error::Setting`] for a duplicate.
    pub fn new(mut list: Vec<Concept>) -> Result<Self> {
        if list.len() < 3 {
            return Err(Error::TooFew {
                what: "concepts (a triplet takes three)".into(),
                found: list.len(),
                needed: 3,
            });
        }
        let as_given: Vec<String> = list.iter().map(|concept| concept.name.clone()).collect();
        list.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        let mut ids = HashMap::with_capacity(list.len());
        for (id, concept) in list.iter().enumerate() {
            let id = ConceptId::try_from(id).expect("a list in memory has fewer than 2^32 entries");
            if ids.insert(concept.name.clone(), id).is_some() {
                return Err(Error::Setting {
                    field: "concepts".into(),
                    found: format!("{:?} twice", concept.name),
                    expected: "each name once".into(),
                });
            }
        }
        let as_listed = as_given.iter().map(|name| ids[name]).collect();
        Ok(Self { list, ids, as_listed })
    }

    /// The list made of bare names.
    ///
    /// # Errors
    /// As [`Concepts::new`].
    pub fn from_names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self> {
        let concept = |name: S| Concept { name: name.into(), category: None, definition: None, things_id: None };
        Self::new(names.into_iter().map(concept).collect())
    }

    /// Reads a CSV with a `concept` column and, optionally, `category`, `definition` and `things_id`.
    ///
    /// # Errors
    /// Names the row and column of an empty, duplicated or non-UTF-8 name; too few concepts; a missing column.
    pub fn read_csv(path: &Path) -> Result<Self> {
        Self::from_csv(&fs_err::read(path)?, path)
    }

    /// Reads the text of such a CSV; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Concepts::read_csv`].
    pub fn from_csv(text: &[u8], path: &Path) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().flexible(false).trim(csv::Trim::All).from_reader(text);
        let header = reader.byte_headers().map_err(|e| csv_error(path, &e))?.clone();
        let column = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name.as_bytes()));
        let Some(name_column) = column("concept") else {
            return Err(Error::Format {
                path: path.into(),
                found: format!(
                    "the columns {}",
                    header.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(", ")
                ),
                expected: "a column named `concept`".into(),
            });
        };
        let optional = [column("category"), column("definition"), column("things_id")];

        let mut list: Vec<Concept> = Vec::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, record) in reader.byte_records().enumerate() {
            let row = index + 2;
            let record = record.map_err(|e| csv_error(path, &e))?;
            let cell = |at: usize, column: &str| {
                let bytes = record.get(at).unwrap_or_default();
                std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Error::Cell {
                    path: path.into(),
                    row,
                    column: column.into(),
                    found: format!("bytes that are not UTF-8 ({})", bytes.escape_ascii()),
                    expected: "UTF-8 text".into(),
                })
            };
            let name = cell(name_column, "concept")?;
            let wrong = |found: String, expected: &str| Error::Cell {
                path: path.into(),
                row,
                column: "concept".into(),
                found,
                expected: expected.into(),
            };
            if name.is_empty() {
                return Err(wrong("nothing".into(), "a name"));
            }
            if let Some(c) = name.chars().find(|c| c.is_control()) {
                return Err(wrong(format!("the control character {c:?}"), "printable text"));
            }
            if let Some(first) = seen.insert(name.clone(), row) {
                return Err(wrong(format!("{name:?}, which row {first} has already"), "each name once"));
            }
            let mut extra = [None, None, None];
            for (value, (at, label)) in
                extra.iter_mut().zip(optional.iter().zip(["category", "definition", "things_id"]))
            {
                if let Some(at) = at {
                    *value = Some(cell(*at, label)?).filter(|text| !text.is_empty());
                }
            }
            let [category, definition, things_id] = extra;
            list.push(Concept { name, category, definition, things_id });
        }
        if list.len() < 3 {
            return Err(Error::TooFew {
                what: format!("concepts in {} (a triplet takes three)", path.display()),
                found: list.len(),
                needed: 3,
            });
        }
        Self::new(list)
    }

    /// Number of concepts.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Never true: a list holds at least three concepts.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The concepts in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Concept> {
        self.list.iter()
    }

    /// The name of a concept.
    pub fn name(&self, id: ConceptId) -> &str {
        &self.list[id as usize].name
    }

    /// The id of a name.
    pub fn id(&self, name: &str) -> Option<ConceptId> {
        self.ids.get(name).copied()
    }

    /// The ids in the order that the list was given in, for files that count its entries.
    pub fn as_listed(&self) -> &[ConceptId] {
        &self.as_listed
    }

    /// The categories in alphabetical order, and the category of each concept; `None` if any concept has none.
    pub fn categories(&self) -> Option<(Vec<String>, Vec<usize>)> {
        let of_each: Option<Vec<&String>> = self.list.iter().map(|c| c.category.as_ref()).collect();
        let of_each = of_each?;
        let mut all: Vec<String> = of_each.iter().map(|c| (*c).clone()).collect();
        all.sort();
        all.dedup();
        let index = of_each.iter().map(|c| all.binary_search(c).expect("every category was collected")).collect();
        Some((all, index))
    }

    /// sha256 over the names, one a line: what makes two lists the same list.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for concept in &self.list {
            hash.update(concept.name.as_bytes());
            hash.update(b"\n");
        }
        crate::hex(&hash.finalize())
    }
}

/// A CSV fault with its file and row.
pub(crate) fn csv_error(path: &Path, error: &csv::Error) -> Error {
    let row = error.position().map_or(1, |p| usize::try_from(p.line()).unwrap_or(usize::MAX));
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => Error::Format {
            path: path.into(),
            found: format!("{len} cells in row {row}"),
            expected: format!("{expected_len} as in the header"),
        },
        _ => Error::Format { path: path.into(), found: error.to_string(), expected: "a CSV table".into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Concepts> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        Concepts::read_csv(file.path())
    }

    #[test]
    fn ids_follow_byte_order_whatever_the_file_order() {
        let concepts = read(b"concept,category\nzebra,animal\nApple,food\nbear,animal\n").unwrap();
        let names: Vec<&str> = concepts.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["Apple", "bear", "zebra"]);
        assert_eq!(concepts.id("bear"), Some(1));
        assert_eq!(concepts.categories().unwrap(), (vec!["animal".into(), "food".into()], vec![1, 0, 0]));
        assert_eq!(concepts.digest(), Concepts::from_names(["bear", "zebra", "Apple"]).unwrap().digest());
    }

    #[test]
    fn faults_name_the_row() {
        let message = |text: &[u8]| read(text).unwrap_err().to_string();
        assert!(message(b"concept\nbear\ncat\nbear\n").contains("row 4"));
        assert!(message(b"concept\nbear\nc\xffat\ndog\n").contains("row 3"));
        assert!(message(b"concept\nbear\n").contains("1, at least 3"));
        assert!(message(b"name\nbear\ncat\ndog\n").contains("a column named `concept`"));
        assert!(message(b"concept\nbear,cat\n").contains("2 cells in row 2"));
        assert!(message(b"concept\nbear\n\"\"\ndog\n").contains("row 3"));
    }
}
