//! Human data to compare with, read into the same types as ours, and matched to the study's concepts by name.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use faer::Mat;

use crate::concepts::Concepts;
use crate::error::{Error, Result};
use crate::{linalg, store};

/// Coordinates of the concepts of a study, in their order.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Name for tables: the file's name, or `category`.
    pub name: String,
    /// `[n_concepts, n_dims]`, one row for each concept that is in [`Reference::matched`].
    pub coordinates: Mat<f64>,
    /// Which concepts have a row: all, unless missing ones were allowed.
    pub matched: Vec<usize>,
    /// sha256 of the file; the concept list's digest for the built-in one.
    pub digest: String,
    /// What was done to the coordinates, for tables: how they were brought to other dimensions. Empty when nothing was.
    pub treatment: String,
}

/// How concepts find their rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matching {
    /// Rows named for concepts by the user.
    pub map: BTreeMap<String, String>,
    /// Leave out concepts without a row.
    pub allow_missing: bool,
}

/// The fewest concepts an intersection may leave.
const MIN_MATCHED: usize = 10;

impl Reference {
    /// The built-in reference: one-hot categories, `[n_concepts, n_categories]`.
    ///
    /// # Errors
    /// [`Error::Setting`] when a concept has no category.
    pub fn categories(concepts: &Concepts) -> Result<Self> {
        let (names, of_each) = concepts.categories().ok_or_else(|| Error::Setting {
            field: "align.reference".into(),
            found: "category".into(),
            expected: "a file: not every concept has a category".into(),
        })?;
        Ok(Self {
            name: "category".into(),
            coordinates: Mat::from_fn(concepts.len(), names.len(), |i, c| f64::from(u8::from(of_each[i] == c))),
            matched: (0..concepts.len()).collect(),
            digest: concepts.digest(),
            treatment: String::new(),
        })
    }

    /// The reference in `dims` dimensions: the first principal components of its rows for the study's concepts, or columns of zeros
    /// added to it (which no measure of a linear geometry sees). What was done is stated in [`Reference::treatment`].
    ///
    /// # Errors
    /// [`Error::Setting`] for no dimensions, [`Error::NotFinite`]
    pub fn in_dimensions(mut self, dims: usize) -> Result<Self> {
        if dims == 0 {
            let (field, found) = ("reference_dims".into(), "0".into());
            return Err(Error::Setting { field, found, expected: "1 or more".into() });
        }
        let own = self.coordinates.ncols();
        if dims < own {
            let pca = linalg::pca(self.coordinates.as_ref(), dims)?;
            let share = pca.variances.iter().take(dims).sum::<f64>() / pca.variances.iter().sum::<f64>();
            // Fewer concepts than dimensions have fewer components; the rest are zeros.
            self.coordinates = linalg::zero_padded(pca.scores.as_ref(), dims);
            self.treatment =
                format!("reference: {dims} of {own} dimensions by PCA, {:.1} % of its variance", 100.0 * share);
        } else if dims > own {
            self.coordinates = linalg::zero_padded(self.coordinates.as_ref(), dims);
            self.treatment = format!("reference: {own} dimensions and {} of zeros", dims - own);
        }
        Ok(self)
    }

    /// Reads a reference: Parquet or CSV with `concept, d00, …`; `.npy` or a SPoSE text file with `names`, a file with one
    /// name a line (or THINGS' table with a `uniqueID` column).
    ///
    /// # Errors
    /// [`Error::Unmatched`] listing candidates for every concept without a single row; [`Error::Format`].
    pub fn read(path: &Path, names: Option<&Path>, concepts: &Concepts, matching: &Matching) -> Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
        let (row_names, all) = match extension.as_str() {
            "parquet" | "csv" => {
                let embedding = store::embedding::read(path)?;
                (embedding.names, embedding.coordinates)
            }
            _ => {
                let names = names.ok_or_else(|| Error::Setting {
                    field: "names".into(),
                    found: "not given".into(),
                    expected: format!("a file that names the rows of {}, one a line", path.display()),
                })?;
                let matrix = if extension == "npy" { store::npy::read(path)? } else { read_spose(path)? };
                (read_names(names)?, matrix)
            }
        };
        if row_names.len() != all.nrows() {
            return Err(Error::ShapeMismatch {
                what: format!("names of the rows of {}", path.display()),
                found: row_names.len().to_string(),
                expected: all.nrows().to_string(),
            });
        }
        let rows = match_rows(path, &row_names, concepts, matching)?;
        let matched: Vec<usize> = (0..concepts.len()).filter(|i| rows[*i].is_some()).collect();
        let kept: Vec<usize> = rows.into_iter().flatten().collect();
        Ok(Self {
            name: path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default(),
            coordinates: Mat::from_fn(kept.len(), all.ncols(), |i, j| all[(kept[i], j)]),
            matched,
            digest: crate::model_folder::file_digest(path)?,
            treatment: String::new(),
        })
    }
}

/// The row of each concept among `names`: the user's choice, else the sense its list names, else the same name; none for a concept
/// that may be missing.
///
/// # Errors
/// [`Error::Unmatched`] listing candidates for every concept without a single row, [`Error::TooFew`]
pub fn match_rows(
    path: &Path,
    names: &[String],
    concepts: &Concepts,
    matching: &Matching,
) -> Result<Vec<Option<usize>>> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (row, name) in names.iter().enumerate() {
        by_name.entry(name.as_str()).or_default().push(row);
    }
    let rows_of = |name: &str| by_name.get(name).map_or(&[][..], Vec::as_slice);
    for concept in matching.map.keys() {
        if concepts.id(concept).is_none() {
            return Err(Error::Setting {
                field: "map".into(),
                found: format!("{concept:?}"),
                expected: "a concept of the study on the left of `=`".into(),
            });
        }
    }
    let mut matched = Vec::with_capacity(concepts.len());
    let mut unmatched = Vec::new();
    for concept in concepts.iter() {
        let mapped = matching.map.get(&concept.name);
        let underscored = concept.name.replace(' ', "_");
        let candidates: Vec<&str> = match (mapped, &concept.things_id) {
            (Some(row), _) => vec![row],
            (None, Some(id)) => vec![id, &concept.name, &underscored],
            (None, None) => vec![&concept.name, &underscored],
        };
        let found = candidates.iter().map(|name| rows_of(name)).find(|rows| !rows.is_empty()).unwrap_or_default();
        match found {
            [row] => matched.push(Some(*row)),
            [] if matching.allow_missing && mapped.is_none() => matched.push(None),
            several => {
                let near = candidates_for(&underscored, names);
                let reason = match (several.is_empty(), near.is_empty()) {
                    (false, _) => format!("{:?} ({} rows of that name)", concept.name, several.len()),
                    (true, false) => format!("{:?} (candidates: {})", concept.name, near.join(", ")),
                    (true, true) => format!("{:?} (no candidates)", concept.name),
                };
                unmatched.push(reason);
                matched.push(None);
            }
        }
    }
    if !unmatched.is_empty() {
        return Err(Error::Unmatched { path: path.into(), names: unmatched });
    }
    let n = matched.iter().flatten().count();
    if n < MIN_MATCHED.min(concepts.len()) {
        return Err(Error::TooFew {
            what: format!("concepts of the study with a row in {}", path.display()),
            found: n,
            needed: MIN_MATCHED,
        });
    }
    Ok(matched)
}

/// Rows that could be meant: numbered senses of the name, then names spelled alike.
fn candidates_for<'a>(name: &str, names: &'a [String]) -> Vec<&'a str> {
    let numbered = |row: &&String| {
        row.strip_prefix(name).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let senses: Vec<&str> = names.iter().filter(numbered).map(String::as_str).collect();
    if !senses.is_empty() {
        return senses;
    }
    let mut near: Vec<(f64, &str)> =
        names.iter().map(|row| (strsim::jaro_winkler(name, row), row.as_str())).filter(|(s, _)| *s > 0.85).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(3).map(|(_, row)| row).collect()
}

/// Reads names of rows: one a line, or a table with a `uniqueID` column, as THINGS publishes it.
///
/// # Errors
/// [`Error::Io`].
pub fn read_names(path: &Path) -> Result<Vec<String>> {
    let text = fs_err::read_to_string(path)?;
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).peekable();
    let column = lines.peek().and_then(|header| header.split('\t').position(|cell| cell == "uniqueID"));
    Ok(match column {
        Some(column) => {
            lines.skip(1).map(|line| line.split('\t').nth(column).unwrap_or_default().trim().to_owned()).collect()
        }
        None => lines.map(|line| line.trim().to_owned()).collect(),
    })
}

/// Numbers separated by white space, one row a line: SPoSE's text files (with their trailing blanks).
fn read_spose(path: &Path) -> Result<Mat<f64>> {
    let text = fs_err::read_to_string(path)?;
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |found: String, expected: String| Error::Cell {
            path: path.into(),
            row: index + 1,
            column: "all".into(),
            found,
            expected,
        };
        let numbers: Result<Vec<f64>> = line
            .split_whitespace()
            .map(|cell| cell.parse().map_err(|_| fault(format!("{cell:?}"), "a number".into())))
            .collect();
        let numbers = numbers?;
        if let Some(first) = rows.first()
            && first.len() != numbers.len()
        {
            return Err(fault(format!("{} numbers", numbers.len()), format!("{} as in the first row", first.len())));
        }
        rows.push(numbers);
    }
    let dims = rows.first().map_or(0, Vec::len);
    Ok(Mat::from_fn(rows.len(), dims, |i, j| rows[i][j]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::concepts::Concept;

    fn concepts() -> Concepts {
        let concept = |name: &str, id: Option<&str>| Concept {
            name: name.into(),
            category: Some("thing".into()),
            definition: None,
            things_id: id.map(str::to_owned),
        };
        Concepts::new(vec![concept("bow", Some("bow1")), concept("ice cream", None), concept("mouse", None)]).unwrap()
    }

    fn matched(names: &[&str], matching: &Matching) -> Result<Vec<Option<usize>>> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        match_rows(Path::new("r"), &names, &concepts(), matching)
    }

    #[test]
    fn senses_underscores_and_the_users_choice() {
        let map = BTreeMap::from([("mouse".to_owned(), "mouse1".to_owned())]);
        let rows = matched(&["bow1", "bow2", "mouse1", "mouse2", "ice_cream"], &Matching { map, allow_missing: false });
        assert_eq!(rows.unwrap(), [Some(0), Some(4), Some(2)]);
    }

    #[test]
    fn homographs_are_listed_not_guessed() {
        let error = matched(&["bow1", "mouse1", "mouse2", "ice_creem"], &Matching::default()).unwrap_err().to_string();
        assert!(error.contains("\"mouse\" (candidates: mouse1, mouse2)"), "{error}");
        assert!(error.contains("\"ice cream\" (candidates: ice_creem)"), "{error}");
        let twice = matched(&["bow1", "mouse", "mouse", "ice_cream"], &Matching::default()).unwrap_err().to_string();
        assert!(twice.contains("2 rows of that name"));
    }

    #[test]
    fn other_dimensions_are_stated() {
        let reference = Reference {
            name: "r".into(),
            coordinates: Mat::from_fn(4, 3, |i, k| {
                [[0.0, 3.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 0.1], [4.0, 3.0, 0.0]][i][k]
            }),
            matched: vec![0, 1, 2, 3],
            digest: String::new(),
            treatment: String::new(),
        };
        let reduced = reference.clone().in_dimensions(2).unwrap();
        assert_eq!(reduced.coordinates.shape(), (4, 2));
        assert_eq!(reduced.treatment, "reference: 2 of 3 dimensions by PCA, 100.0 % of its variance");
        let padded = reference.clone().in_dimensions(5).unwrap();
        assert_eq!((padded.coordinates.shape(), padded.coordinates[(3, 4)]), ((4, 5), 0.0));
        assert_eq!(padded.treatment, "reference: 3 dimensions and 2 of zeros");
        assert_eq!(reference.clone().in_dimensions(3).unwrap().treatment, "");
        assert!(reference.in_dimensions(0).is_err());
    }

    #[test]
    fn spose_text_and_both_kinds_of_name_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, text).unwrap();
            path
        };
        let matrix = write("spose.txt", "1.0 2.0 \n3 4e-1 \n5 6 \n");
        let names = write("unique_id.txt", "bow1\nice_cream\nmouse\n");
        let reference = Reference::read(&matrix, Some(&names), &concepts(), &Matching::default()).unwrap();
        assert_eq!(reference.coordinates[(1, 1)], 0.4);
        let table = write("things.tsv", "Word\tuniqueID\nbow\tbow1\nice cream\tice_cream\nmouse\tmouse\n");
        assert!(Reference::read(&matrix, Some(&table), &concepts(), &Matching::default()).is_ok());
        let short = write("short.txt", "bow1\n");
        assert!(Reference::read(&matrix, Some(&short), &concepts(), &Matching::default()).is_err());
        let ragged = write("ragged.txt", "1 2\n3\n5 6\n");
        assert!(Reference::read(&ragged, Some(&names), &concepts(), &Matching::default()).is_err());
    }
}
