//! Variants of a table: the same questions without some models, with other columns, or with corrected cells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cells, Table};
use crate::error::{Error, Result};

/// What is different.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// What it is called.
    pub name: String,
    /// Models left out.
    #[serde(default)]
    pub without: Vec<String>,
    /// Levels whose models are left out, by column.
    #[serde(default)]
    pub without_levels: BTreeMap<String, Vec<String>>,
    /// Levels whose models alone are kept, by column.
    #[serde(default)]
    pub only_levels: BTreeMap<String, Vec<String>>,
    /// Columns that stand in for others, by the name of the one that goes.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// Cells that are corrected, by model and column; the text of a number is one.
    #[serde(default)]
    pub cells: BTreeMap<String, BTreeMap<String, String>>,
}

impl Variant {
    /// What the table is called that nothing was changed in.
    pub const AS_GIVEN: &str = "as given";

    /// The table as this variant has it.
    ///
    /// # Errors
    /// [`Error::Setting`] for a model, level or column that is not there: a variant that changes nothing would mislead
    pub fn of(&self, table: &Table) -> Result<Table> {
        let mut varied = table.clone();
        for (goes, comes) in &self.columns {
            table.column(goes)?;
            varied = varied.with_column(goes, table.column(comes)?.clone())?;
        }
        for (model, cells) in &self.cells {
            let row = self.row(table, model)?;
            for (column, text) in cells {
                let corrected = corrected(varied.column(column)?, row, text).ok_or_else(|| Error::Setting {
                    field: format!("{column:?} of {model} in the variant {:?}", self.name),
                    found: format!("{text:?}"),
                    expected: "a number, as in the column".into(),
                })?;
                varied = varied.with_column(column, corrected)?;
            }
        }
        let mut kept = vec![true; table.len()];
        for model in &self.without {
            kept[self.row(table, model)?] = false;
        }
        for (levels_of, keep) in [(&self.without_levels, false), (&self.only_levels, true)] {
            for (column, levels) in levels_of {
                let cells = varied.levels(column)?;
                for level in levels {
                    if !cells.iter().flatten().any(|cell| cell == level) {
                        return Err(self.absent(&format!("{level:?} in {column:?}")));
                    }
                }
                for (kept, cell) in kept.iter_mut().zip(cells) {
                    let named = cell.as_ref().is_some_and(|cell| levels.contains(cell));
                    *kept &= named == keep;
                }
            }
        }
        let rows: Vec<usize> = (0..table.len()).filter(|&row| kept[row]).collect();
        Ok(varied.at(&rows))
    }

    fn row(&self, table: &Table, model: &str) -> Result<usize> {
        table.rows().iter().position(|row| row == model).ok_or_else(|| self.absent(&format!("{model:?}")))
    }

    fn absent(&self, what: &str) -> Error {
        Error::Setting {
            field: format!("the variant {:?}", self.name),
            found: what.to_owned(),
            expected: "something that is in the table".into(),
        }
    }
}

fn corrected(cells: &Cells, row: usize, text: &str) -> Option<Cells> {
    let mut cells = cells.clone();
    match &mut cells {
        Cells::Numbers(cells) if text.is_empty() => cells[row] = None,
        Cells::Numbers(cells) => cells[row] = Some(text.parse().ok().filter(|number: &f64| number.is_finite())?),
        Cells::Levels(cells) => cells[row] = (!text.is_empty()).then(|| text.to_owned()),
    }
    Some(cells)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table() -> Table {
        let levels = |cells: [&str; 3]| Cells::Levels(cells.map(|cell| Some(cell.to_owned())).to_vec());
        let columns = vec![
            ("family".into(), levels(["T5", "T5", "Yi"])),
            ("heads".into(), Cells::Numbers(vec![Some(128.0), Some(32.0), None])),
            ("width".into(), Cells::Numbers(vec![Some(1.0), Some(2.0), Some(3.0)])),
        ];
        Table::new(["t5-11b", "t5-3b", "yi"].map(str::to_owned).to_vec(), columns).unwrap()
    }

    fn varied(text: &str) -> Result<Table> {
        toml::from_str::<Variant>(&format!("name = 'v'\n{text}")).unwrap().of(&table())
    }

    #[test]
    fn rows_go_columns_change_and_cells_are_corrected() {
        assert_eq!(varied("without = ['t5-11b']").unwrap().rows(), ["t5-3b", "yi"]);
        assert_eq!(varied("without_levels.family = ['T5']").unwrap().rows(), ["yi"]);
        assert_eq!(varied("only_levels.family = ['T5']").unwrap().rows(), ["t5-11b", "t5-3b"]);
        let swapped = varied("columns.heads = 'width'").unwrap();
        assert_eq!(swapped.numbers("heads").unwrap(), [Some(1.0), Some(2.0), Some(3.0)]);
        let fixed = varied("cells.yi = { heads = '32', family = '' }").unwrap();
        assert_eq!((fixed.numbers("heads").unwrap()[2], &fixed.levels("family").unwrap()[2]), (Some(32.0), &None));
    }

    #[test]
    fn a_variant_that_changes_nothing_is_refused() {
        for text in [
            "without = ['t5-11B']",
            "without_levels.family = ['t5']",
            "columns.heads = 'depth'",
            "cells.yi.heads = 'many'",
        ] {
            assert!(varied(text).is_err(), "{text}");
        }
    }
}
