//! A checksum inside the file it is of: a Parquet file says in its footer what all of its bytes hash to.
//!
//! The value stands among the key-value metadata as 64 hexadecimal digits; the hash is that of the file with 64 zeros there
//! instead, so that every bit of the file counts, those of the footer too.

use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

/// The metadata key of the checksum.
pub(crate) const KEY: &str = "alike.sha256";
/// What stands in its place while the file is written.
pub(crate) const PLACEHOLDER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A writer that hashes what it passes on.
pub(crate) struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The hash of what went through it.
    pub(crate) fn hash(&self) -> String {
        crate::hex(&self.hash.clone().finalize())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Puts the hash of a file with the placeholder into its place.
pub(crate) fn stamp(file: &mut (impl Read + Write + Seek), hash: &str) -> io::Result<()> {
    let (place, _) = find(file)?.ok_or_else(|| io::Error::other("the footer has no place for the checksum"))?;
    file.seek(SeekFrom::Start(place))?;
    file.write_all(hash.as_bytes())
}

/// Whether the bytes are those that were written; `None` for a file without a checksum, or whose footer is not to be found.
pub(crate) fn holds(file: &mut (impl Read + Seek)) -> io::Result<Option<bool>> {
    let Some((place, stated)) = find(file)? else { return Ok(None) };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    file.rewind()?;
    let mut pass = |file: &mut dyn Read, hash: &mut Sha256| -> io::Result<()> {
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                n => hash.update(&buffer[..n]),
            }
        }
    };
    pass(&mut file.by_ref().take(place), &mut hash)?;
    hash.update(PLACEHOLDER.as_bytes());
    file.seek(SeekFrom::Start(place + PLACEHOLDER.len() as u64))?;
    pass(file, &mut hash)?;
    Ok(Some(crate::hex(&hash.finalize()).as_bytes() == stated))
}

/// Where the checksum stands, and what it says.
///
/// A Parquet file ends with its footer, four bytes of the footer's length and `PAR1`. In the footer the key is followed by two
/// bytes of Thrift's compact protocol: "a text in the next field", and its length, 64. Statistics, which could hold anything,
/// come before.
fn find(file: &mut (impl Read + Seek)) -> io::Result<Option<(u64, Vec<u8>)>> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = [0; 8];
    if length < 12 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(length - 8))?;
    file.read_exact(&mut end)?;
    let footer = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    if end[4..] != *b"PAR1" || footer + 12 > length {
        return Ok(None);
    }
    let start = length - 8 - footer;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(footer).read_to_end(&mut bytes)?;
    let key = [KEY.as_bytes(), &[0x18, 64]].concat();
    let at = bytes.windows(key.len() + PLACEHOLDER.len()).rposition(|window| window.starts_with(&key));
    Ok(at.map(|at| {
        let from = at + key.len();
        (start + from as u64, bytes[from..from + PLACEHOLDER.len()].to_vec())
    }))
}
