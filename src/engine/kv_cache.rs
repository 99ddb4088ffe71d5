//! Key-value caches of finished passes, which later passes continue.

use std::collections::HashMap;

use ort::value::Tensor;
use rayon::prelude::*;

use crate::engine::provider::runtime_error;
use crate::engine::signature::CacheShape;
use crate::error::Result;
use crate::prompts::plan::Pass;

/// Keys and values of one pass: `2 · n_layers` tensors `[rows, heads, tokens, head_dim]`, layer by layer, key first.
pub(crate) type Present = Vec<Tensor<f32>>;

/// The caches that later passes will continue.
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: CacheShape,
    kept: HashMap<usize, Present>,
    /// What a pass without a past continues: one row of no tokens.
    nothing: Present,
}

impl KvCache {
    pub(crate) fn new(shape: CacheShape) -> Result<Self> {
        let nothing = (0..2 * shape.n_layers).map(|_| empty(shape, 1)).collect::<Result<_>>()?;
        Ok(Self { shape, kept: HashMap::new(), nothing })
    }

    pub(crate) fn keep(&mut self, pass: usize, present: Present) {
        self.kept.insert(pass, present);
    }

    pub(crate) fn release(&mut self, pass: usize) {
        self.kept.remove(&pass);
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }

    /// The tensors a pass continues, and for each of its rows the row in them: nothing is copied.
    pub(crate) fn indexed(&self, pass: &Pass) -> (&Present, Vec<i64>) {
        match pass.parent {
            Some(parent) => (&self.kept[&parent], pass.parent_rows.iter().map(|row| index(*row)).collect()),
            None => (&self.nothing, vec![0; pass.n_rows()]),
        }
    }

    /// The tensors a pass continues, a cache row for each of its rows: for graphs that cannot choose rows themselves.
    pub(crate) fn repeated(&self, pass: &Pass) -> Result<Present> {
        let n_rows = pass.n_rows();
        let Some(parent) = pass.parent else {
            return (0..2 * self.shape.n_layers).map(|_| empty(self.shape, n_rows)).collect();
        };
        let row_len = self.shape.per_token() * pass.past_len;
        let dims = [n_rows, self.shape.n_heads, pass.past_len, self.shape.head_dim];
        self.kept[&parent]
            .par_iter()
            .map(|tensor| {
                let (_, values) = tensor.extract_tensor();
                let mut data = Vec::with_capacity(n_rows * row_len);
                for row in &pass.parent_rows {
                    data.extend_from_slice(&values[row * row_len..(row + 1) * row_len]);
                }
                Tensor::from_array((dims, data)).map_err(|e| runtime_error("repeating cache rows", &e))
            })
            .collect()
    }
}

fn empty(shape: CacheShape, n_rows: usize) -> Result<Tensor<f32>> {
    let dims = [n_rows, shape.n_heads, 0, shape.head_dim];
    Tensor::from_array((dims, Vec::<f32>::new())).map_err(|e| runtime_error("making an empty cache", &e))
}

fn index(row: usize) -> i64 {
    i64::try_from(row).expect("row numbers are small")
}
