//! A table of models: a row for each, a column for each of their properties and scores, any cell empty.

use crate::error::{Error, Result};

/// A column's cells, one for each row; nothing where the cell is empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Quantities. `inf` and `nan` are no quantities; readers refuse them.
    Numbers(Vec<Option<f64>>),
    /// Names of levels, such as `yes` and `no`.
    Levels(Vec<Option<String>>),
}

impl Cells {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(cells) => cells.len(),
            Self::Levels(cells) => cells.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the cell of a row is empty.
    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Numbers(cells) => cells[row].is_none(),
            Self::Levels(cells) => cells[row].is_none(),
        }
    }

    fn at(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numbers(cells) => Self::Numbers(rows.iter().map(|&row| cells[row]).collect()),
            Self::Levels(cells) => Self::Levels(rows.iter().map(|&row| cells[row].clone()).collect()),
        }
    }
}

/// Named rows and named columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the rows are called, such as the models' names; all different.
    rows: Vec<String>,
    columns: Vec<(String, Cells)>,
}

impl Table {
    /// A table of some columns.
    ///
    /// # Errors
    /// [`Error::Setting`] when a row or a column is named twice, [`Error::ShapeMismatch`] when a column has another length
    pub fn new(rows: Vec<String>, columns: Vec<(String, Cells)>) -> Result<Self> {
        let twice = |what: &str, name: &str| Error::Setting {
            field: what.to_owned(),
            found: format!("{name:?} twice"),
            expected: "each once".to_owned(),
        };
        let mut seen = std::collections::HashSet::new();
        if let Some(name) = rows.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(twice("rows", name));
        }
        let mut seen = std::collections::HashSet::new();
        for (name, cells) in &columns {
            if !seen.insert(name.as_str()) {
                return Err(twice("columns", name));
            }
            if cells.len() != rows.len() {
                return Err(Error::ShapeMismatch {
                    what: format!("column {name:?}"),
                    found: format!("{} cells", cells.len()),
                    expected: format!("{}, one for each row", rows.len()),
                });
            }
        }
        Ok(Self { rows, columns })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Names of the rows.
    pub fn rows(&self) -> &[String] {
        &self.rows
    }

    /// Names of the columns, in their order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// A column.
    ///
    /// # Errors
    /// [`Error::Setting`], which lists the columns there are
    pub fn column(&self, name: &str) -> Result<&Cells> {
        let found = self.columns.iter().find(|(column, _)| column == name);
        found.map(|(_, cells)| cells).ok_or_else(|| Error::Setting {
            field: "column".to_owned(),
            found: format!("{name:?}"),
            expected: format!("one of {}", self.columns().collect::<Vec<_>>().join(", ")),
        })
    }

    /// A column of quantities.
    ///
    /// # Errors
    /// as for [`Table::column`], and for a column of levels
    pub fn numbers(&self, name: &str) -> Result<&[Option<f64>]> {
        match self.column(name)? {
            Cells::Numbers(cells) => Ok(cells),
            Cells::Levels(_) => Err(wrong_kind(name, "words", "numbers")),
        }
    }

    /// A column of levels.
    ///
    /// # Errors
    /// as for [`Table::column`], and for a column of quantities
    pub fn levels(&self, name: &str) -> Result<&[Option<String>]> {
        match self.column(name)? {
            Cells::Levels(cells) => Ok(cells),
            Cells::Numbers(_) => Err(wrong_kind(name, "numbers", "words")),
        }
    }

    /// Some of the rows, in the order given.
    ///
    /// # Panics
    /// for a row that is not there
    #[must_use]
    pub fn at(&self, rows: &[usize]) -> Self {
        Self {
            rows: rows.iter().map(|&row| self.rows[row].clone()).collect(),
            columns: self.columns.iter().map(|(name, cells)| (name.clone(), cells.at(rows))).collect(),
        }
    }

    /// The same rows with the columns of another table beside theirs; cells are empty where the other has no such row. A
    /// column of both must be equal where both have a cell; the cell is the one that is there.
    ///
    /// # Errors
    /// [`Error::Setting`] for a column whose cells differ
    pub fn with(mut self, other: &Self) -> Result<Self> {
        let place: std::collections::HashMap<&str, usize> =
            other.rows.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let places: Vec<Option<usize>> = self.rows.iter().map(|name| place.get(name.as_str()).copied()).collect();
        for (name, cells) in &other.columns {
            let cells = match cells {
                Cells::Numbers(cells) => Cells::Numbers(places.iter().map(|at| at.and_then(|at| cells[at])).collect()),
                Cells::Levels(cells) => {
                    Cells::Levels(places.iter().map(|at| at.and_then(|at| cells[at].clone())).collect())
                }
            };
            match self.columns.iter().position(|(column, _)| column == name) {
                None => self.columns.push((name.clone(), cells)),
                Some(at) => self.columns[at].1 = merged(name, &self.columns[at].1, &cells, &self.rows)?,
            }
        }
        Ok(self)
    }

    /// The same table with another column of a name, or one more.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when it is not as long as the others
    pub fn with_column(mut self, name: &str, cells: Cells) -> Result<Self> {
        self.columns.retain(|(column, _)| column != name);
        self.columns.push((name.to_owned(), cells));
        Self::new(self.rows, self.columns)
    }
}

fn wrong_kind(name: &str, found: &str, expected: &str) -> Error {
    Error::Setting { field: format!("column {name:?}"), found: found.to_owned(), expected: expected.to_owned() }
}

fn merged(name: &str, mine: &Cells, theirs: &Cells, rows: &[String]) -> Result<Cells> {
    fn each<T: Clone + PartialEq>(
        mine: &[Option<T>],
        theirs: &[Option<T>],
    ) -> std::result::Result<Vec<Option<T>>, usize> {
        let pairs = mine.iter().zip(theirs).enumerate();
        pairs
            .map(
                |(row, (a, b))| {
                    if a.is_some() && b.is_some() && a != b { Err(row) } else { Ok(a.clone().or(b.clone())) }
                },
            )
            .collect()
    }
    let merged = match (mine, theirs) {
        (Cells::Numbers(a), Cells::Numbers(b)) => each(a, b).map(Cells::Numbers),
        (Cells::Levels(a), Cells::Levels(b)) => each(a, b).map(Cells::Levels),
        _ => return Err(wrong_kind(name, "numbers in one table and words in the other", "the same kind in both")),
    };
    merged.map_err(|row| Error::Setting {
        field: format!("column {name:?} of {}", rows[row]),
        found: "different cells in the two tables".to_owned(),
        expected: "the same, or one of them empty".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table(rows: &[&str], name: &str, cells: &[Option<f64>]) -> Table {
        Table::new(
            rows.iter().map(|&row| row.to_owned()).collect(),
            vec![(name.to_owned(), Cells::Numbers(cells.to_vec()))],
        )
        .unwrap()
    }

    #[test]
    fn tables_are_joined_by_the_names_of_their_rows() {
        let (scores, sizes) = (
            table(&["a", "b", "c"], "r2", &[Some(0.1), Some(0.2), None]),
            table(&["c", "x", "a"], "layers", &[Some(3.0), Some(9.0), None]),
        );
        let both = scores.clone().with(&sizes).unwrap();
        assert_eq!(both.rows(), ["a", "b", "c"]);
        assert_eq!(both.columns().collect::<Vec<_>>(), ["r2", "layers"]);
        assert_eq!(both.numbers("layers").unwrap(), [None, None, Some(3.0)]);
        let same = scores.clone().with(&table(&["c", "a"], "r2", &[Some(0.3), Some(0.1)])).unwrap();
        assert_eq!(same.numbers("r2").unwrap(), [Some(0.1), Some(0.2), Some(0.3)]);
        let other = scores.with(&table(&["a"], "r2", &[Some(0.5)])).unwrap_err().to_string();
        assert!(other.contains("\"r2\" of a"), "{other}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let twice = Table::new(vec!["a".into(), "a".into()], vec![]).unwrap_err().to_string();
        assert!(twice.contains("\"a\" twice"), "{twice}");
        let short = Table::new(vec!["a".into()], vec![("x".into(), Cells::Numbers(vec![]))]).unwrap_err().to_string();
        assert!(short.contains("column \"x\"") && short.contains("0 cells"), "{short}");
        let absent = table(&["a"], "r2", &[None]).column("r3").unwrap_err().to_string();
        assert!(absent.contains("one of r2"), "{absent}");
        assert!(table(&["a"], "r2", &[None]).levels("r2").is_err());
    }
}
