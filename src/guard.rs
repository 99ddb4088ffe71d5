//! Panics of a library that reads damaged files, as errors.
//!
//! Files of alike's own are held against their checksum before they are read. Of others the Parquet reader takes every number at its
//! word, and panics on some that cannot be.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::{Error, Result};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What files that others wrote should be.
pub(crate) const PARQUET: &str = "a whole Parquet file";

/// Stack for what recurses as deep as its input nests.
const DEEP_STACK_BYTES: usize = 96 << 20;

/// Reads from a file; a panic is the damage of that file.
///
/// # Errors
/// Those of `read`, and [`Error::Format`] for a panic. What `read` was at work on is not to be used after one.
pub(crate) fn guarded<T>(path: &Path, expected: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(before);
    outcome.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::Format {
            path: path.into(),
            found: format!("what its reader does not stand ({words})"),
            expected: expected.into(),
        })
    })
}

/// The same on a deep stack.
///
/// # Errors
/// Those of [`guarded`], and [`Error::Io`] where there is no memory for the stack
pub(crate) fn guarded_deep<T: Send>(path: &Path, expected: &str, read: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(DEEP_STACK_BYTES);
        let thread = thread.spawn_scoped(scope, || guarded(path, expected, read))?;
        thread.join().expect("a panic is an error there")
    })
}

/// Keeps panics that become errors from being told twice; for programs, once, at their start.
pub fn quiet() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !GUARDED.get() {
            usual(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_names_the_file() {
        let path = Path::new("t.parquet");
        let error = guarded::<()>(path, PARQUET, || panic!("length {}", -1)).unwrap_err().to_string();
        assert_eq!(error, "t.parquet: what its reader does not stand (length -1), expected a whole Parquet file");
        assert_eq!(guarded(path, PARQUET, || Ok(3)).unwrap(), 3);
        assert!(!GUARDED.get());
    }
}
