//! Key-value caches of finished passes, and the past that a new pass continues.

use std::collections::HashMap;

use ort::value::Tensor;
use rayon::prelude::*;

use crate::engine::session::runtime_error;
use crate::engine::signature::CacheShape;
use crate::error::Result;
use crate::prompts::plan::{Parent, Pass};

/// Keys and values of one pass: `2 · n_layers` tensors `[rows, heads, tokens, head_dim]`, layer by layer, key first.
pub(crate) type Present = Vec<Tensor<f32>>;

/// The caches that later passes will continue.
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: CacheShape,
    kept: HashMap<usize, Present>,
}

/// What a pass continues.
pub(crate) enum Past<'a> {
    /// All parents are rows of one earlier pass, whose tensors serve as they are.
    Borrowed {
        /// Those tensors.
        tensors: &'a Present,
        /// For each row of the pass, the row in them.
        rows: Vec<i64>,
    },
    /// Rows put together from several passes, or none.
    Gathered {
        /// The new tensors.
        tensors: Present,
        /// For each row of the pass, the row in them.
        rows: Vec<i64>,
    },
}

impl KvCache {
    pub(crate) fn new(shape: CacheShape) -> Self {
        Self { shape, kept: HashMap::new() }
    }

    pub(crate) fn keep(&mut self, pass: usize, present: Present) {
        self.kept.insert(pass, present);
    }

    pub(crate) fn release(&mut self, passes: &[usize]) {
        for pass in passes {
            self.kept.remove(pass);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }

    /// The past of a pass whose graph chooses cache rows by index.
    pub(crate) fn indexed(&self, pass: &Pass) -> Result<Past<'_>> {
        let n_rows = pass.n_rows();
        let Some(first) = pass.parents.first() else {
            return Ok(Past::Gathered { tensors: self.gather(&[], 1, 0)?, rows: vec![0; n_rows] });
        };
        if pass.parents.iter().all(|p| p.pass == first.pass) {
            let rows = pass.parents.iter().map(|p| index(p.row)).collect();
            return Ok(Past::Borrowed { tensors: &self.kept[&first.pass], rows });
        }
        let mut distinct = pass.parents.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let place = |p: &Parent| index(distinct.binary_search(p).expect("every parent is among the distinct ones"));
        let rows = pass.parents.iter().map(place).collect();
        Ok(Past::Gathered { tensors: self.gather(&distinct, distinct.len(), pass.past_len)?, rows })
    }

    /// The past of a pass, one cache row for each of its rows.
    pub(crate) fn repeated(&self, pass: &Pass) -> Result<Present> {
        self.gather(&pass.parents, pass.n_rows(), pass.past_len)
    }

    /// New tensors `[n_rows, heads, past_len, head_dim]` with the rows of `parents` one after the other.
    fn gather(&self, parents: &[Parent], n_rows: usize, past_len: usize) -> Result<Present> {
        let row_len = self.shape.n_heads * past_len * self.shape.head_dim;
        let dims = [n_rows, self.shape.n_heads, past_len, self.shape.head_dim];
        (0..2 * self.shape.n_layers)
            .into_par_iter()
            .map(|tensor| {
                let mut data = Vec::with_capacity(parents.len() * row_len);
                for parent in parents {
                    let (_, values) = self.kept[&parent.pass][tensor].extract_tensor();
                    data.extend_from_slice(&values[parent.row * row_len..(parent.row + 1) * row_len]);
                }
                Tensor::from_array((dims, data)).map_err(|e| runtime_error("putting cache rows together", &e))
            })
            .collect()
    }
}

fn index(row: usize) -> i64 {
    i64::try_from(row).expect("row numbers are small")
}
