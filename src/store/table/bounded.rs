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
