//! One figure a file. Each takes the data and gives its figure, or nothing where the data have nothing to draw.

mod dimensions;
mod dots;
mod maps;
mod quality;
mod ranking;
mod rdm;

use super::data::ReportData;
use super::figure::Figure;

/// In the order of the page.
const FIGURES: [fn(&ReportData) -> Option<Figure>; 7] =
    [ranking::figure, maps::components, maps::neighbours, rdm::large, rdm::small, dimensions::figure, quality::figure];

/// Every figure that the data allow.
pub(super) fn all(data: &ReportData) -> Vec<Figure> {
    FIGURES.iter().filter_map(|figure| figure(data)).collect()
}
