//! `--tune`: the fastest tokens of a pass and threads, of each model on each provider.

use alike::bench::Cell;
use alike::bench::cell::Matrix;
use alike::bench::tune::{Probed, Setting, TuneLimits, Tuned, tune as search};
use alike::prompts::plan::Reuse;

use crate::cli::bench::processes::Processes;
use crate::cli::bench::rounds::Measurements;

/// Fewer tokens are a row or two; more want gigabytes for their keys and logits.
const BATCH_TOKENS: [usize; 2] = [64, 131_072];

/// Tunes every model on every provider, sharing prefixes as judging does.
pub(crate) fn tune(
    matrix: &Matrix,
    measuring: &Measurements<'_>,
    processes: &mut Processes<'_>,
) -> anyhow::Result<Vec<Tuned>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found = Vec::new();
    for cell in (Matrix { reuse: vec![Reuse::Trie], ..matrix.clone() }).cells() {
        if cell.model.is_empty() {
            continue;
        }
        let what = what(&cell);
        let threads = if cell.threads == 0 { cores } else { cell.threads };
        let start = Setting { batch_tokens: cell.batch_tokens, threads };
        let limits = TuneLimits { batch_tokens: BATCH_TOKENS, threads: cores.max(threads) };
        found.push(search(&what, start, limits, |setting| {
            let tried = Cell { batch_tokens: setting.batch_tokens, threads: setting.threads, ..cell.clone() };
            let probed = match measuring.measure(&tried, processes)? {
                Ok(ran) => Probed::TripletsPerSecond(ran.measured.timing.triplets_per_second()),
                Err(reason) => Probed::Unavailable(reason),
            };
            let said = match &probed {
                Probed::TripletsPerSecond(rate) => format!("{rate:.1} triplets/s"),
                Probed::Unavailable(reason) => format!("unavailable: {reason}"),
            };
            tracing::info!("tuning {what}: {} tokens, {} threads: {said}", setting.batch_tokens, setting.threads);
            anyhow::Ok(probed)
        })?);
    }
    Ok(found)
}

fn what(cell: &Cell) -> String {
    format!("{}/{}/{}", cell.model_name(), cell.precision, cell.provider)
}

/// The cells with those that tuning found, each after the others of its model and provider.
pub(crate) fn with_tuned(cells: Vec<Cell>, tuned: &[Tuned]) -> Vec<Cell> {
    let mut all = cells.clone();
    for one in tuned {
        let Some(best) = one.best.filter(|best| *best != one.start) else { continue };
        for cell in cells.iter().filter(|cell| what(cell) == one.what) {
            let cell = Cell { batch_tokens: best.batch_tokens, threads: best.threads, ..cell.clone() };
            if !all.contains(&cell) {
                all.push(cell);
            }
        }
    }
    all
}
