//! One figure a file. Each takes the data and gives its figure, or nothing where the data have nothing to draw.

mod asked;
mod axes;
mod bench;
mod benchmark_correlations;
mod benchmark_scatter;
mod compared;
mod curves;
mod dimensions;
mod dots;
mod effects;
mod groups;
mod maps;
mod matrix;
mod measure_correlations;
mod people;
mod quality;
mod quantities;
mod ranking;
mod rdm;
mod scatter;
mod scores;
mod stages;
mod throughput;

use super::data::ReportData;
use super::figure::Figure;

/// In the order of the page.
const FIGURES: [fn(&ReportData) -> Option<Figure>; 20] = [
    ranking::figure,
    people::figure,
    scores::figure,
    measure_correlations::figure,
    groups::figure,
    quantities::figure,
    effects::figure,
    stages::figure,
    benchmark_scatter::figure,
    benchmark_correlations::figure,
    maps::components,
    maps::neighbours,
    rdm::large,
    rdm::small,
    dimensions::figure,
    quality::figure,
    compared::figure,
    curves::figure,
    throughput::figure,
    bench::figure,
];

/// Every figure that the data allow.
pub(super) fn all(data: &ReportData) -> Vec<Figure> {
    FIGURES.iter().filter_map(|figure| figure(data)).collect()
}
