//! One figure a file. Each takes the data and gives its figure, or nothing where the data have nothing to draw.

mod compared;
mod curves;
mod dots;
mod maps;
mod quality;
mod ranking;
mod throughput;

use super::data::ReportData;
use super::figure::Figure;

/// Every figure that the data allow, in the order of the page.
pub(super) fn all(data: &ReportData) -> Vec<Figure> {
    let figures = [
        ranking::figure(data),
        maps::figure(data),
        quality::figure(data),
        compared::figure(data),
        curves::figure(data),
        throughput::figure(data),
    ];
    figures.into_iter().flatten().collect()
}
