//! The order of rows in a data set: by the concepts as shown, then by repeat, so that no row is there twice.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};

use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::store::table::Table;

/// The place of a row: concepts as shown, repeat.
type Key = [i64; 4];

/// What is carried from batch to batch and from file to file.
#[derive(Debug)]
pub(super) struct Order {
    task: Task,
    last: Option<Key>,
}

impl Order {
    pub(super) fn new(task: Task) -> Self {
        Self { task, last: None }
    }

    /// The columns that it is told by.
    pub(super) fn columns(task: Task) -> impl Iterator<Item = String> {
        task.concepts().into_iter().map(|concept| format!("{concept}_id")).chain(["repeat".to_owned()])
    }

    /// What is wrong with the order of some rows that follow those before, the first thing found.
    pub(super) fn fault(&mut self, table: &Table) -> Result<Option<String>> {
        let columns = Self::columns(self.task);
        let keys = columns.map(|name| table.column(&name, &DataType::Int64)).collect::<Result<Vec<_>>>()?;
        let keys: Vec<&[i64]> = keys.iter().map(|array| array.as_primitive::<Int64Type>().values().as_ref()).collect();
        for row in 0..table.len() {
            let key = [0, 1, 2, 3].map(|k| keys[k][row]);
            if self.last.is_some_and(|last| last >= key) {
                let what = if self.last == Some(key) { "is the row before it once more" } else { "is out of order" };
                return Ok(Some(format!("row {} {what}", table.first_row + row + 1)));
            }
            self.last = Some(key);
        }
        Ok(None)
    }

    /// The same for who cannot go on with such rows.
    ///
    /// # Errors
    /// [`Error::Format`]
    pub(super) fn check(&mut self, table: &Table) -> Result<()> {
        match self.fault(table)? {
            None => Ok(()),
            Some(found) => {
                let expected = "every judgment once, in order (`alike validate` says what is wrong where)".into();
                Err(Error::Format { path: table.path.clone(), found, expected })
            }
        }
    }
}
