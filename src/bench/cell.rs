//! The cells of the matrix: what is measured, and in which order.

use serde::{Deserialize, Serialize};

use crate::engine::provider::ExecutionProvider;
use crate::error::{Error, Result};
use crate::prompts::plan::Reuse;

/// One combination that is measured, or that says why it cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the model folder; empty where no folder has the precision.
    pub model: String,
    /// Precision that the folder states.
    pub precision: String,
    /// Where it runs.
    pub provider: ExecutionProvider,
    /// Threads of the model and of everything beside it; 0 leaves it to the runtime, one a core.
    pub threads: usize,
    /// New tokens in one pass, at most.
    pub batch_tokens: usize,
    /// What is shared between prompts.
    pub reuse: Reuse,
}

impl Cell {
    /// The threads as people read them.
    pub fn threads_name(&self) -> String {
        if self.threads == 0 { "all".into() } else { self.threads.to_string() }
    }

    /// The model as people read it.
    pub fn model_name(&self) -> &str {
        if self.model.is_empty() { "(none)" } else { &self.model }
    }

    /// Whether prefixes are shared between prompts or between the options of one: rows with and without are not compared.
    pub fn shares(&self) -> bool {
        self.reuse != Reuse::Off
    }
}

/// Model, precision, provider, threads, tokens of a pass and reuse: the cell's name in files and flags.
impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { precision, provider, batch_tokens, reuse, .. } = self;
        let (model, threads, reuse) = (self.model_name(), self.threads_name(), reuse.name());
        write!(f, "{model}/{precision}/{provider}/{threads}/{batch_tokens}/{reuse}")
    }
}

/// What the matrix is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matrix {
    /// Folders by name, with the precision they state.
    pub models: Vec<(String, String)>,
    /// Precisions wanted; empty for whatever the folders have.
    pub precisions: Vec<String>,
    /// Providers.
    pub providers: Vec<ExecutionProvider>,
    /// Numbers of threads, 0 for all.
    pub threads: Vec<usize>,
    /// Tokens of a pass; empty for the provider's own number.
    pub batch_tokens: Vec<usize>,
    /// What is shared.
    pub reuse: Vec<Reuse>,
}

impl Matrix {
    /// Every cell once: by model, in it by provider, threads, tokens and reuse. A precision that no folder has is a cell
    /// without a model.
    pub fn cells(&self) -> Vec<Cell> {
        let wanted = |precision: &String| self.precisions.is_empty() || self.precisions.contains(precision);
        let mut models: Vec<(String, String)> =
            self.models.iter().filter(|(_, precision)| wanted(precision)).cloned().collect();
        let has = |precision: &String| self.models.iter().any(|(_, has)| has == precision);
        models.extend(self.precisions.iter().filter(|p| !has(p)).map(|p| (String::new(), p.clone())));
        let mut cells: Vec<Cell> = Vec::new();
        for (model, precision) in &models {
            for &provider in &self.providers {
                let own = [provider.batch_tokens()];
                let batches = if self.batch_tokens.is_empty() { &own[..] } else { &self.batch_tokens };
                for &threads in &self.threads {
                    for &batch_tokens in batches {
                        for &reuse in &self.reuse {
                            let (model, precision) = (model.clone(), precision.clone());
                            let cell = Cell { model, precision, provider, threads, batch_tokens, reuse };
                            if !cells.contains(&cell) {
                                cells.push(cell);
                            }
                        }
                    }
                }
            }
        }
        cells
    }
}

/// The place of the reference among cells that were measured.
///
/// Asked for by name or by number, from 1, it is that cell. Otherwise it is the first that shares nothing between prompts,
/// whose numbers nothing but the graph decides, on the CPU where there is one such; where all share, the first on the CPU, or
/// the first.
///
/// # Errors
/// [`Error::Setting`] for a name that no cell has, or a cell that was not measured.
pub fn reference(cells: &[Cell], measured: &[bool], asked: Option<&str>) -> Result<Option<usize>> {
    if let Some(asked) = asked {
        let number = asked.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let named = || cells.iter().position(|cell| cell.to_string() == asked);
        let found = number.filter(|place| *place < cells.len()).or_else(named);
        let wrong = |found: String, expected: String| Error::Setting { field: "reference".into(), found, expected };
        let names = || cells.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let place = found.ok_or_else(|| wrong(format!("{asked:?}"), format!("a cell of the matrix: {}", names())))?;
        return match measured[place] {
            true => Ok(Some(place)),
            false => Err(wrong(format!("{}, which is unavailable", cells[place]), "a cell that was measured".into())),
        };
    }
    let trust = |cell: &Cell| (cell.reuse != Reuse::Off, cell.provider != ExecutionProvider::Cpu);
    Ok((0..cells.len()).filter(|place| measured[*place]).min_by_key(|place| trust(&cells[*place])))
}

/// The order in which cells are measured in one round: forth in the first, back in the second, so that a machine that grows
/// slower or faster does so for all.
pub fn order(n_cells: usize, round: usize) -> Vec<usize> {
    if round.is_multiple_of(2) { (0..n_cells).collect() } else { (0..n_cells).rev().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        Matrix {
            models: vec![("a".into(), "fp32".into()), ("b".into(), "fp16".into())],
            providers: vec![ExecutionProvider::Cpu, ExecutionProvider::Cuda],
            threads: vec![0, 2],
            batch_tokens: vec![512, 1024, 512],
            reuse: vec![Reuse::Trie, Reuse::Off],
            ..Matrix::default()
        }
    }

    #[test]
    fn every_combination_stands_once_and_a_precision_nobody_has_stands_without_a_model() {
        assert_eq!(matrix().cells().len(), 2 * 2 * 2 * 2 * 2);
        let asked = Matrix { precisions: vec!["fp32".into(), "int8".into()], ..matrix() };
        let cells = asked.cells();
        assert_eq!(cells.len(), 2 * 2 * 2 * 2 * 2);
        assert_eq!(cells[0].to_string(), "a/fp32/cpu/all/512/trie");
        assert_eq!(cells.iter().filter(|cell| cell.model.is_empty()).count(), 16);
        assert_eq!(cells[31].to_string(), "(none)/int8/cuda/2/1024/off");
        let own = Matrix { batch_tokens: vec![], threads: vec![0], reuse: vec![Reuse::Off], ..matrix() };
        let batches: Vec<usize> = own.cells().iter().map(|cell| cell.batch_tokens).collect();
        assert_eq!(batches, [1024, 16_384, 1024, 16_384]);
    }

    #[test]
    fn the_reference_is_the_plainest_cell_or_the_one_asked_for() {
        let cells = matrix().cells();
        let all = vec![true; cells.len()];
        assert_eq!(reference(&cells, &all, None).unwrap(), Some(1));
        // Nothing on the CPU was measured: the first elsewhere that shares nothing.
        let elsewhere: Vec<bool> = cells.iter().map(|cell| cell.provider == ExecutionProvider::Cuda).collect();
        let found = reference(&cells, &elsewhere, None).unwrap().unwrap();
        assert_eq!(cells[found].to_string(), "a/fp32/cuda/all/512/off");
        let sharing: Vec<bool> = cells.iter().map(Cell::shares).collect();
        assert_eq!(reference(&cells, &sharing, None).unwrap(), Some(0));
        assert_eq!(reference(&cells, &vec![false; cells.len()], None).unwrap(), None);
        assert_eq!(reference(&cells, &all, Some("3")).unwrap(), Some(2));
        assert_eq!(reference(&cells, &all, Some("a/fp32/cpu/2/512/trie")).unwrap(), Some(4));
        let wrong = reference(&cells, &all, Some("99")).unwrap_err().to_string();
        assert!(wrong.contains("`reference` is \"99\"") && wrong.contains("a/fp32/cpu/all/512/trie"), "{wrong}");
        assert!(reference(&cells, &elsewhere, Some("1")).unwrap_err().to_string().contains("unavailable"));
    }

    #[test]
    fn rounds_go_forth_and_back() {
        assert_eq!([order(3, 0), order(3, 1), order(3, 2)], [vec![0, 1, 2], vec![2, 1, 0], vec![0, 1, 2]]);
    }
}
