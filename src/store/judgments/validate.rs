//! Whether a respondent's judgments are whole: every file as it was written, every part there, every row once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::DataType;

use super::columns;
use super::order::Order;
use super::pieces::{Held, KEY_PARTS, Piece, pieces};
use super::read::chosen_places;
use crate::error::Result;
use crate::presentations::Task;
use crate::store::manifest::{Fingerprint, KEY_INPUTS};
use crate::store::table::{Batches, Table};

/// What was found in a respondent's folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validation {
    /// Rows of the files that could be read.
    pub n_rows: u64,
    /// Files.
    pub n_files: usize,
    /// Parts in them.
    pub n_parts: usize,
    /// How many there should be; unknown where no file says so, as in the first version.
    pub of: Option<usize>,
    /// The parts that are not there.
    pub missing: Vec<Range<usize>>,
    /// What is wrong, in the order found; empty for a whole respondent.
    pub faults: Vec<String>,
}

/// Reads everything in a respondent's folder and holds it against what it says of itself. Memory does not grow with the rows.
///
/// Every file: its checksum, its columns with their types, the parts its name and its metadata tell, its fingerprint against its own
/// inputs and those of the other files, the number of rows of its parts, the label in its rows. All together: rows in strictly
/// rising order of concepts and repeats, so that none is there twice; no part there twice; none missing.
///
/// # Errors
/// [`crate::Error::Io`] where the folder cannot be read; what is wrong with the files is among the faults
pub fn validate(folder: &Path, task: Task, label: &str) -> Result<Validation> {
    let mut found = Validation::default();
    let there = match pieces(folder) {
        Ok(there) => there,
        Err(crate::Error::Io(error)) => return Err(error.into()),
        Err(error) => {
            found.faults.push(error.to_string());
            return Ok(found);
        }
    };
    found.n_files = there.len();
    let mut series = Series { task, label, inputs: None, order: Order::new(task) };
    let mut next = 0;
    for piece in &there {
        let name = piece.path.display();
        if piece.parts.start < next {
            found.faults.push(format!("{name}: part {} is also in another file", piece.parts.start));
        } else if piece.parts.start > next {
            found.missing.push(next..piece.parts.start);
        }
        next = next.max(piece.parts.end);
        found.n_parts += piece.parts.len();
        match series.read(piece, &mut found) {
            Ok(n_rows) => found.n_rows += n_rows,
            Err(error) => found.faults.push(error.to_string()),
        }
    }
    match found.of {
        Some(of) if next < of => found.missing.push(next..of),
        None if there.is_empty() => found.faults.push(format!("{}: no judgments", folder.display())),
        _ => {}
    }
    if !found.missing.is_empty() {
        let of = found.of.map(|of| format!(" of {of}")).unwrap_or_default();
        let ranges: Vec<String> = found.missing.iter().map(in_words).collect();
        found.faults.push(format!("{}: missing of the parts{of}: {}", folder.display(), ranges.join(", ")));
    }
    Ok(found)
}

/// A range of parts as people write it, both ends included.
pub fn in_words(parts: &Range<usize>) -> String {
    match parts.len() {
        1 => parts.start.to_string(),
        _ => format!("{}–{}", parts.start, parts.end - 1),
    }
}

/// What is carried from file to file.
struct Series<'a> {
    task: Task,
    label: &'a str,
    inputs: Option<BTreeMap<String, String>>,
    order: Order,
}

impl Series<'_> {
    /// Reads one file; returns its rows.
    fn read(&mut self, piece: &Piece, found: &mut Validation) -> Result<u64> {
        let name = piece.path.display();
        let batches = Batches::open(&piece.path, None)?;
        let mut fault = |text: String| found.faults.push(format!("{name}: {text}"));
        let there = batches.schema();
        for column in columns(self.task) {
            match there.field_with_name(&column.name) {
                Err(_) => fault(format!("no column `{}`", column.name)),
                Ok(field) if *field.data_type() != column.data_type => {
                    fault(format!("column `{}` is {}, expected {}", column.name, field.data_type(), column.data_type));
                }
                Ok(_) => {}
            }
        }
        let inputs = self.check_metadata(batches.metadata(), piece, &mut found.of, &mut fault);
        let n_rows = batches.n_rows();
        if let Some(expected) = inputs.as_ref().and_then(rows_of_part) {
            // The last part holds what is left.
            let is_last = found.of.is_none_or(|of| piece.parts.end == of);
            let most = expected * piece.parts.len() as u64;
            if n_rows > most || (!is_last && n_rows != most) || n_rows == 0 {
                fault(format!("{n_rows} rows, expected {most}"));
            }
        }
        self.inputs = self.inputs.take().or(inputs);
        for table in batches {
            if let Some(text) = self.check_rows(&table?)? {
                found.faults.push(format!("{name}: {text}"));
                break;
            }
        }
        Ok(n_rows)
    }

    fn check_metadata(
        &self,
        metadata: &BTreeMap<String, String>,
        piece: &Piece,
        of: &mut Option<usize>,
        fault: &mut impl FnMut(String),
    ) -> Option<BTreeMap<String, String>> {
        match metadata.get(KEY_PARTS).map(|text| text.parse::<Held>()) {
            Some(Ok(held)) => {
                if held.parts != piece.parts {
                    fault(format!("says that it holds parts {held}"));
                }
                match *of {
                    Some(of) if of != held.of => fault(format!("is of {} parts, the files before it of {of}", held.of)),
                    _ => *of = Some(held.of),
                }
            }
            Some(Err(found)) => fault(format!("`{KEY_PARTS}` is {found}")),
            // As the first version wrote it.
            None => {}
        }
        let inputs: Option<BTreeMap<String, String>> =
            metadata.get(KEY_INPUTS).and_then(|json| serde_json::from_str(json).ok());
        let Some(inputs) = inputs else {
            fault(format!("does not say what it was made from (`{KEY_INPUTS}`)"));
            return None;
        };
        if !Fingerprint::default().with_all("", &inputs).matches(metadata) {
            fault("its fingerprint is not that of its own inputs".to_owned());
        }
        if let Some(first) = &self.inputs
            && let Some(name) = first.keys().chain(inputs.keys()).find(|name| first.get(*name) != inputs.get(*name))
        {
            let shown = |of: &BTreeMap<String, String>| of.get(name).cloned().unwrap_or_else(|| "nothing".into());
            fault(format!(
                "was made with another `{name}` than the files before it: {}, not {}",
                shown(&inputs),
                shown(first)
            ));
        }
        Some(inputs)
    }

    /// What is wrong with some rows, the first thing found.
    fn check_rows(&mut self, table: &Table) -> Result<Option<String>> {
        if let Some(fault) = self.order.fault(table)? {
            return Ok(Some(fault));
        }
        let labels = table.column("model", &DataType::Utf8)?;
        if let Some(row) = labels.as_string::<i32>().iter().position(|label| label != Some(self.label)) {
            let row = table.first_row + row + 1;
            return Ok(Some(format!("row {row} is of another respondent than `{}`", self.label)));
        }
        chosen_places(table, self.task)?;
        Ok(None)
    }
}

/// Rows in a whole part, from what it was made from.
fn rows_of_part(inputs: &BTreeMap<String, String>) -> Option<u64> {
    let number = |name: &str| inputs.get(name).and_then(|text| text.parse::<u64>().ok());
    let repeats = number("repeats").unwrap_or(1).max(1);
    Some((number("part_rows")? / repeats).max(1) * repeats)
}
