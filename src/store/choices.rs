//! Answered triplets from any source, as an embedding needs them.

use std::path::{Path, PathBuf};

use crate::concepts::{Concepts, csv_error};
use crate::embedding::Comparison;
use crate::error::{Error, Result};
use crate::store::judgments::parquet_files;
use crate::store::table::Table;
use crate::triplets::Triplet;

/// Answered triplets and the concepts they are about.
#[derive(Debug, Clone)]
pub struct Choices {
    /// The concepts.
    pub concepts: Concepts,
    /// The answers; those without a choice are left out.
    pub comparisons: Vec<Comparison>,
    /// Number of rows without a choice.
    pub n_unanswered: usize,
}

/// Columns of one file.
struct Columns {
    path: PathBuf,
    names: [Vec<String>; 3],
    chosen: Vec<Option<String>>,
    soft: Option<Vec<Option<f64>>>,
    weight: Option<Vec<Option<f64>>>,
}

/// Reads `anchor, first, second, chosen` (and optionally `weight`) from a CSV file, a Parquet file, or a folder of Parquet
/// files. With `soft_column`, that column (probability of the first option) is the target instead of the choice. Without
/// `concepts` they are the names in the files.
///
/// # Errors
/// Names the file, row and column of what is missing or wrong.
pub fn read(path: &Path, concepts: Option<Concepts>, soft_column: Option<&str>) -> Result<Choices> {
    let files = if path.is_dir() { parquet_files(path)? } else { vec![path.to_owned()] };
    if files.is_empty() {
        return Err(Error::Missing {
            what: "a file of judgments",
            path: path.into(),
            hint: "give a CSV or Parquet file with `anchor, first, second, chosen`, or a `respondent=LABEL` folder"
                .into(),
        });
    }
    let tables: Vec<Columns> = files.iter().map(|file| columns(file, soft_column)).collect::<Result<_>>()?;
    let concepts = match concepts {
        Some(concepts) => concepts,
        None => {
            let mut names: Vec<&String> = tables.iter().flat_map(|t| t.names.iter().flatten()).collect();
            names.sort();
            names.dedup();
            Concepts::from_names(names)?
        }
    };
    let mut choices = Choices { concepts, comparisons: Vec::new(), n_unanswered: 0 };
    for table in &tables {
        add(&mut choices, table, soft_column)?;
    }
    Ok(choices)
}

fn add(choices: &mut Choices, table: &Columns, soft_column: Option<&str>) -> Result<()> {
    for row in 0..table.chosen.len() {
        let fault = |column: &str, found: String, expected: &str| Error::Cell {
            path: table.path.clone(),
            row: row + 1,
            column: column.into(),
            found,
            expected: expected.into(),
        };
        let mut ids = [0; 3];
        for ((id, names), column) in ids.iter_mut().zip(&table.names).zip(["anchor", "first", "second"]) {
            let name = &names[row];
            *id = choices
                .concepts
                .id(name)
                .ok_or_else(|| fault(column, format!("{name:?}"), "a concept of the study"))?;
        }
        let [anchor, first, second] = ids;
        if anchor == first || anchor == second || first == second {
            return Err(fault("second", choices.concepts.name(second).into(), "three different concepts"));
        }
        let Some(chosen) = &table.chosen[row] else {
            choices.n_unanswered += 1;
            continue;
        };
        let hard = match choices.concepts.id(chosen) {
            Some(id) if id == first => 1.0,
            Some(id) if id == second => 0.0,
            _ => return Err(fault("chosen", format!("{chosen:?}"), "the first or the second option")),
        };
        let p_first = match &table.soft {
            None => hard,
            Some(values) => {
                let name = soft_column.unwrap_or_default();
                let value = values[row].ok_or_else(|| fault(name, "nothing".into(), "a probability"))?;
                if !(0.0..=1.0).contains(&value) {
                    return Err(fault(name, value.to_string(), "a probability, 0 to 1"));
                }
                value
            }
        };
        let weight = table.weight.as_ref().map_or(Some(1.0), |w| w[row]).filter(|w| w.is_finite() && *w >= 0.0);
        let weight =
            weight.ok_or_else(|| fault("weight", "nothing or a negative number".into(), "a weight, 0 or more"))?;
        let triplet = Triplet { anchor, first, second }.id(choices.concepts.len());
        choices.comparisons.push(Comparison { triplet, anchor, first, second, p_first, weight });
    }
    Ok(())
}

fn columns(path: &Path, soft_column: Option<&str>) -> Result<Columns> {
    if path.extension().is_some_and(|e| e == "parquet") {
        let table = Table::read(path)?;
        let has = |name: &str| table.columns().iter().any(|c| c == name);
        return Ok(Columns {
            names: [table.names("anchor")?, table.names("first")?, table.names("second")?],
            chosen: table.text("chosen")?,
            soft: soft_column.map(|name| table.numbers(name)).transpose()?,
            weight: has("weight").then(|| table.numbers("weight")).transpose()?,
            path: path.into(),
        });
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(fs_err::File::open(path)?);
    let header = reader.headers().map_err(|e| csv_error(path, &e))?.clone();
    let at = |name: &str| header.iter().position(|h| h == name);
    let needed = |name: &str| {
        at(name).ok_or_else(|| Error::Format {
            path: path.into(),
            found: format!("the columns {}", header.iter().collect::<Vec<_>>().join(", ")),
            expected: format!("a column `{name}`"),
        })
    };
    let places = [needed("anchor")?, needed("first")?, needed("second")?, needed("chosen")?];
    let soft_at = soft_column.map(needed).transpose()?;
    let weight_at = at("weight");
    let mut columns = Columns {
        path: path.into(),
        names: Default::default(),
        chosen: Vec::new(),
        soft: soft_at.map(|_| Vec::new()),
        weight: weight_at.map(|_| Vec::new()),
    };
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|e| csv_error(path, &e))?;
        let number = |at: usize| -> Result<Option<f64>> {
            let cell = &record[at];
            if cell.is_empty() {
                return Ok(None);
            }
            cell.parse().map(Some).map_err(|_| Error::Cell {
                path: path.into(),
                row: row + 2,
                column: header[at].into(),
                found: cell.into(),
                expected: "a number".into(),
            })
        };
        for (names, at) in columns.names.iter_mut().zip(places) {
            names.push(record[at].to_owned());
        }
        columns.chosen.push(Some(record[places[3]].to_owned()).filter(|c| !c.is_empty()));
        if let Some((values, at)) = columns.soft.as_mut().zip(soft_at) {
            values.push(number(at)?);
        }
        if let Some((values, at)) = columns.weight.as_mut().zip(weight_at) {
            values.push(number(at)?);
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, soft: Option<&str>) -> Result<Choices> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.csv");
        fs_err::write(&path, text).unwrap();
        read(&path, None, soft)
    }

    #[test]
    fn any_csv_with_four_columns() {
        let choices =
            read_text("who,anchor,first,second,chosen,p\nme,cat,dog,bear,dog,0.9\nme,dog,cat,bear,,0.5\n", None)
                .unwrap();
        assert_eq!(choices.concepts.len(), 3);
        assert_eq!(choices.n_unanswered, 1);
        let c = choices.comparisons[0];
        assert_eq!((c.anchor, c.first, c.second, c.p_first, c.weight), (1, 2, 0, 1.0, 1.0));
        let soft = read_text("anchor,first,second,chosen,p\ncat,dog,bear,dog,0.9\n", Some("p")).unwrap();
        assert_eq!(soft.comparisons[0].p_first, 0.9);
    }

    #[test]
    fn wrong_answers_are_named() {
        let error = |text: &str| read_text(text, None).unwrap_err().to_string();
        assert!(error("anchor,first,second,chosen\ncat,dog,bear,cat\n").contains("column `chosen`: found \"cat\""));
        assert!(error("anchor,first,second\ncat,dog,bear\n").contains("a column `chosen`"));
        assert!(error("anchor,first,second,chosen\ncat,dog,dog,dog\nfox,cat,dog,cat\n").contains("three different"));
    }
}
