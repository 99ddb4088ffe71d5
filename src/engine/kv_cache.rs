//! The pool of keys and values: one slot for every token that later passes continue.

use ort::value::{Tensor, TensorRef};
use rayon::prelude::*;

use crate::engine::provider::runtime_error;
use crate::engine::signature::CacheShape;
use crate::error::Result;
use crate::prompts::plan::Pass;

/// Keys and values of one layer each, key first: `2 · n_layers` of `[slots, heads · head_dim]`.
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: CacheShape,
    n_slots: usize,
    pool: Vec<Vec<f32>>,
}

impl KvCache {
    pub(crate) fn new(shape: CacheShape) -> Self {
        let mut cache = Self { shape, n_slots: 0, pool: vec![Vec::new(); 2 * shape.n_layers] };
        cache.resize(1);
        cache
    }

    /// Makes room for so many tokens; what was there is forgotten. A runtime may refuse a tensor without elements, so
    /// there is always one slot.
    pub(crate) fn resize(&mut self, n_slots: usize) {
        self.n_slots = n_slots.max(1);
        let len = self.n_slots * self.shape.per_token();
        for values in &mut self.pool {
            // A smaller plan gives memory back.
            if values.capacity() > 2 * len {
                *values = Vec::new();
            }
            values.resize(len, 0.0);
        }
    }

    /// The whole pool, as a graph that gathers slots itself takes it: nothing is copied.
    pub(crate) fn views(&self) -> Result<Vec<TensorRef<'_, f32>>> {
        let dims = [self.n_slots, self.shape.per_token()];
        let views = self.pool.iter().map(|values| TensorRef::from_array_view((dims, values.as_slice())));
        views.map(|view| view.map_err(|e| runtime_error("passing the cache", &e))).collect()
    }

    /// The past of every row, `[rows, heads, past_len, head_dim]`: for graphs that cannot gather slots themselves.
    pub(crate) fn gathered(&self, pass: &Pass) -> Result<Vec<Tensor<f32>>> {
        let CacheShape { n_heads, head_dim, .. } = self.shape;
        let dims = [pass.n_rows(), n_heads, pass.past_len, head_dim];
        let gather = |values: &Vec<f32>| {
            let mut data = Vec::with_capacity(dims.iter().product());
            if pass.past_len > 0 {
                for row in pass.past.chunks(pass.past_len) {
                    for head in 0..n_heads {
                        for slot in row {
                            let at = (slot * n_heads + head) * head_dim;
                            data.extend_from_slice(&values[at..at + head_dim]);
                        }
                    }
                }
            }
            Tensor::from_array((dims, data)).map_err(|e| runtime_error("gathering the cache", &e))
        };
        self.pool.par_iter().map(gather).collect()
    }

    /// Puts new tokens into their slots: `values` is `[rows, new_len, heads · head_dim]` of one layer's keys or values.
    pub(crate) fn store(&mut self, half: usize, first_slot: usize, values: &[f32]) {
        let start = first_slot * self.shape.per_token();
        self.pool[half][start..start + values.len()].copy_from_slice(values);
    }

    /// The same from `[rows, heads, past_len + new_len, head_dim]`, of which the past is there already.
    pub(crate) fn store_last(&mut self, half: usize, first_slot: usize, pass: &Pass, values: &[f32]) {
        let CacheShape { n_heads, head_dim, .. } = self.shape;
        let total_len = pass.past_len + pass.new_len;
        for row in 0..pass.n_rows() {
            for head in 0..n_heads {
                for index in 0..pass.new_len {
                    let from = ((row * n_heads + head) * total_len + pass.past_len + index) * head_dim;
                    let to = ((first_slot + row * pass.new_len + index) * n_heads + head) * head_dim;
                    self.pool[half][to..to + head_dim].copy_from_slice(&values[from..from + head_dim]);
                }
            }
        }
    }
}
