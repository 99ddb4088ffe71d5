//! The report: one self-contained page, its figures as SVG, and the numbers behind each figure as CSV.
//!
//! It takes plain data that other stages stored ([`load`]) and fits nothing but the coordinates of maps. The same data give the
//! same bytes: nothing here knows the time, the host or the order of a hash map.
//!
//! Each figure stands by itself in a file of `figures/`: the question it answers, its drawings, its caption and the numbers
//! behind it, or nothing where the data have nothing to draw. The page lists what there is, part by part.

mod answers;
mod csv;
pub mod data;
mod figure;
mod figures;
pub mod load;
mod names;
mod numbers;
mod page;
mod png;
mod scale;
mod speeds;
pub mod structure;
mod summary;
mod svg;

use std::io::Write;
use std::path::{Path, PathBuf};

pub use data::ReportData;

use crate::error::Result;
use crate::store::table::write_atomically;

/// Writes `report.html`, `figures/*.svg` and `figures/*.csv` under `folder`; returns their paths in that order.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn write(folder: &Path, data: &ReportData) -> Result<Vec<PathBuf>> {
    let figures = figures::all(data);
    let mut files = vec![(folder.join("report.html"), page::render(data, &figures).into_bytes())];
    let place = |name: &str, ending: &str| folder.join("figures").join(format!("{name}.{ending}"));
    files.extend(figures.iter().map(|figure| (place(figure.name, "svg"), figure.sheet().into_bytes())));
    files.extend(figures.into_iter().map(|figure| (place(figure.name, "csv"), figure.csv)));
    for (path, bytes) in &files {
        write_atomically(path, |file| file.write_all(bytes))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests;
