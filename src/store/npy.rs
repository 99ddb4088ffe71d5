//! Matrices in NumPy's `.npy` format, as far as embeddings need it: two dimensions of f32 or f64.

use std::path::Path;

use faer::Mat;

use crate::error::{Error, Result};

/// Reads a two-dimensional array of little-endian f32 or f64; f64 is not narrowed.
///
/// # Errors
/// [`Error::Format`] for any other kind of array, or a file whose size does not fit its header.
pub fn read(path: &Path) -> Result<Mat<f64>> {
    parse(&fs_err::read(path)?).map_err(|found| Error::Format {
        path: path.into(),
        found,
        expected: "a .npy file with a two-dimensional array of float32 or float64".into(),
    })
}

fn parse(bytes: &[u8]) -> Result<Mat<f64>, String> {
    if bytes.get(..6) != Some(b"\x93NUMPY") {
        return Err("no .npy file".into());
    }
    let short = || "a file that ends in its header".to_owned();
    let (length, start) = match bytes.get(6).ok_or_else(short)? {
        1 => (usize::from(u16::from_le_bytes(bytes.get(8..10).ok_or_else(short)?.try_into().expect("two bytes"))), 10),
        2 | 3 => (u32::from_le_bytes(bytes.get(8..12).ok_or_else(short)?.try_into().expect("four bytes")) as usize, 12),
        other => return Err(format!("version {other} of the format")),
    };
    let header = bytes.get(start..start + length).ok_or_else(short)?;
    let header = std::str::from_utf8(header).map_err(|_| short())?;
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start_matches([':', ' ']));
    let kind = after("'descr'").unwrap_or_default();
    let width = if kind.starts_with("'<f8'") {
        8
    } else if kind.starts_with("'<f4'") {
        4
    } else {
        return Err(format!("values of type {}", kind.split(',').next().unwrap_or_default()));
    };
    let fortran = after("'fortran_order'").is_some_and(|rest| rest.starts_with("True"));
    let shape = after("'shape'").and_then(|rest| rest.strip_prefix('(')?.split(')').next()).unwrap_or_default();
    let dims: Vec<usize> =
        shape.split(',').map(str::trim).filter(|d| !d.is_empty()).filter_map(|d| d.parse().ok()).collect();
    let [rows, columns] = dims[..] else {
        return Err(format!("an array of shape ({shape})"));
    };
    let data = &bytes[start + length..];
    if rows.checked_mul(columns).and_then(|n| n.checked_mul(width)) != Some(data.len()) {
        return Err(format!("{} bytes of data for shape ({shape})", data.len()));
    }
    let value = |index: usize| {
        let bytes = &data[index * width..(index + 1) * width];
        match width {
            8 => f64::from_le_bytes(bytes.try_into().expect("eight bytes")),
            _ => f64::from(f32::from_le_bytes(bytes.try_into().expect("four bytes"))),
        }
    };
    Ok(Mat::from_fn(rows, columns, |i, j| value(if fortran { j * rows + i } else { i * columns + j })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn both_orders_and_faults() {
        let data: Vec<u8> = (0..6).flat_map(|v| f64::from(v).to_le_bytes()).collect();
        let c = parse(&file("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", &data)).unwrap();
        assert_eq!((c[(0, 1)], c[(1, 0)]), (1.0, 3.0));
        let f = parse(&file("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", &data)).unwrap();
        assert_eq!((f[(0, 1)], f[(1, 0)]), (2.0, 1.0));
        assert!(parse(&file("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 4), }", &data)).is_err());
        assert!(parse(&file("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }", &data)).is_err());
        assert!(
            parse(&file("{'descr': '<f8', 'shape': (18446744073709551615, 18446744073709551615), }", &data)).is_err()
        );
        assert!(parse(b"\x93NUMPY\x01\x00\xff\xff").is_err());
    }
}
