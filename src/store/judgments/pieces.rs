//! Which parts of a respondent's judgments lie in which file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::store::table::Batches;

/// The metadata key of [`Held`].
pub(crate) const KEY_PARTS: &str = "alike.parts";

/// The parts that a file holds, of how many: `7..8 of 18`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Numbers of the parts, from 0.
    pub parts: Range<usize>,
    /// How many parts the respondent has.
    pub of: usize,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{} of {}", self.parts.start, self.parts.end, self.of)
    }
}

impl FromStr for Held {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parse = || {
            let (range, of) = text.split_once(" of ")?;
            let (start, end) = range.split_once("..")?;
            let held = Self { parts: start.parse().ok()?..end.parse().ok()?, of: of.parse().ok()? };
            (held.parts.start < held.parts.end && held.parts.end <= held.of).then_some(held)
        };
        parse().ok_or_else(|| format!("{text:?}"))
    }
}

/// A file of judgments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file.
    pub path: PathBuf,
    /// Numbers of the parts in it.
    pub parts: Range<usize>,
}

impl Piece {
    /// Whether any of some parts is in it.
    pub fn holds_any(&self, parts: &Range<usize>) -> bool {
        self.parts.start < parts.end && parts.start < self.parts.end
    }

    /// Whether several parts were put together into it.
    pub fn is_compacted(&self) -> bool {
        part_number(&self.path).is_none()
    }
}

/// The files of a folder of judgments, in the order of their parts; files that are neither parts nor compacted ones are an error.
///
/// # Errors
/// [`Error::Format`] for a file that does not say which parts it holds, [`Error::Io`]
pub fn pieces(folder: &Path) -> Result<Vec<Piece>> {
    let files = if folder.is_dir() { super::parquet_files(folder)? } else { Vec::new() };
    let mut pieces = files.into_iter().map(piece).collect::<Result<Vec<Piece>>>()?;
    pieces.sort_by_key(|piece| (piece.parts.start, piece.parts.end));
    Ok(pieces)
}

fn piece(path: PathBuf) -> Result<Piece> {
    if let Some(number) = part_number(&path) {
        return Ok(Piece { path, parts: number..number + 1 });
    }
    let held = Batches::open(&path, None)?.metadata().get(KEY_PARTS).cloned().unwrap_or_default();
    match held.parse::<Held>() {
        Ok(held) => Ok(Piece { path, parts: held.parts }),
        Err(found) => {
            let expected =
                format!("`first..end of total` under `{KEY_PARTS}`, or a file named part-SSSSS-NNNNN.parquet");
            Err(Error::Format { path, found, expected })
        }
    }
}

/// How many parts the respondent has whose files these are; unknown where they do not say, as in the first version.
///
/// # Errors
/// [`Error::Format`] for a damaged file, [`Error::Io`]
pub fn parts_in_all(there: &[Piece]) -> Result<Option<usize>> {
    let Some(first) = there.first() else { return Ok(None) };
    let held = Batches::open(&first.path, None)?.metadata().get(KEY_PARTS).and_then(|text| text.parse::<Held>().ok());
    Ok(held.map(|held| held.of))
}

/// The number of a part, from its file's name or that of a draft of it.
pub fn part_number(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    let (_, rest) = name.trim_start_matches('.').strip_prefix("part-")?.split_once('-')?;
    rest.split_once(".parquet")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_which_parts_they_hold() {
        let held = Held { parts: 7..8, of: 18 };
        assert_eq!(held.to_string().parse(), Ok(held));
        for bad in ["", "7..8", "8..7 of 18", "7..7 of 18", "7..19 of 18", "a..b of c"] {
            assert!(bad.parse::<Held>().is_err(), "{bad}");
        }
        assert_eq!(part_number(Path::new("x/part-00000-00012.parquet")), Some(12));
        assert_eq!(part_number(Path::new("x/.part-00000-00012.parquet.77-0a.tmp")), Some(12));
        assert_eq!(part_number(Path::new("x/compact-00012.parquet")), None);
    }
}
