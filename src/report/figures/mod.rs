//! One figure a file. Each takes the data and gives its figure, or nothing where the data have nothing to draw.

mod asked;
mod axes;
mod benchmark_correlations;
mod benchmark_scatter;
mod dots;
mod effects;
mod groups;
mod maps;
mod matrix;
mod measure_correlations;
mod quality;
mod quantities;
mod ranking;
mod scatter;
mod scores;
mod stages;

use super::data::ReportData;
use super::figure::Figure;

/// Every figure that the data allow, in the order of the page.
pub(super) fn all(data: &ReportData) -> Vec<Figure> {
    let figures = [
        ranking::figure(data),
        scores::figure(data),
        measure_correlations::figure(data),
        groups::figure(data),
        quantities::figure(data),
        effects::figure(data),
        stages::figure(data),
        benchmark_scatter::figure(data),
        benchmark_correlations::figure(data),
        maps::figure(data),
        quality::figure(data),
    ];
    figures.into_iter().flatten().collect()
}
