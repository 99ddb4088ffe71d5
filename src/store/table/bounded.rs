//! A file with an end: what the Parquet reader asks for beyond it is an error.
//!
//! Given a plain file, that reader takes the memory that a column is said to need before it looks whether so much is there, and skips
//! what a damaged page header announces by reading nothing at its end, up to 2³¹ times.

use std::fs::File;
use std::io::{self, BufReader, Read};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// A file for the Parquet reader.
pub(crate) struct Bounded {
    file: File,
    n_bytes: u64,
}

impl Bounded {
    /// Takes a file as long as it is now.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let n_bytes = file.metadata()?.len();
        Ok(Self { file, n_bytes })
    }

    fn holds(&self, start: u64, length: usize) -> Result<()> {
        let within = start.checked_add(length as u64).is_some_and(|end| end <= self.n_bytes);
        let what =
            || format!("{length} bytes from byte {start} on are said to be there, and the file has {}", self.n_bytes);
        if within { Ok(()) } else { Err(ParquetError::EOF(what())) }
    }
}

impl Length for Bounded {
    fn len(&self) -> u64 {
        self.n_bytes
    }
}

impl ChunkReader for Bounded {
    type T = Within;

    fn get_read(&self, start: u64) -> Result<Within> {
        self.holds(start, 0)?;
        Ok(Within(self.file.get_read(start)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.holds(start, length)?;
        self.file.get_bytes(start, length)
    }
}

/// The bytes from somewhere on, which do not end.
pub(crate) struct Within(BufReader<File>);

impl Read for Within {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_end_is_an_error_before_memory_is_taken() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        let bounded = Bounded::new(file).unwrap();
        assert_eq!((bounded.len(), &bounded.get_bytes(2, 3).unwrap()[..]), (10, &b"234"[..]));
        for (start, length) in [(0, 11), (8, 3), (11, 0), (3, usize::MAX), (u64::MAX, 1)] {
            let error = bounded.get_bytes(start, length).unwrap_err().to_string();
            assert!(error.contains("the file has 10"), "{error}");
        }
        let mut rest = Vec::new();
        let error = bounded.get_read(7).unwrap().read_to_end(&mut rest).unwrap_err();
        assert_eq!((&rest[..], error.kind()), (&b"789"[..], io::ErrorKind::UnexpectedEof));
        assert!(bounded.get_read(11).is_err());
    }

    /// What fuzzing found: a list of two thousand million numbers that a page's header announces.
    #[test]
    fn a_header_that_announces_what_is_not_there() {
        let found =
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/found/judgments-parquet/skips-what-is-not-there.parquet");
        let error = crate::store::table::Table::read(found.as_ref()).unwrap_err().to_string();
        assert!(error.contains("skips-what-is-not-there.parquet"), "{error}");
    }
}
