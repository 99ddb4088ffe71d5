//! The pool: a slot for every token, or state, that later passes continue.

use ort::memory::AllocationDevice;
use ort::session::SessionInputValue;
use ort::value::{Tensor, TensorRef};
use rayon::prelude::*;

use crate::engine::provider::runtime_error;
use crate::engine::signature::CacheShape;
use crate::error::Result;
use crate::prompts::pass::Pass;

/// Keys and values of one layer each, key first, `[slots, heads · head_dim]`; or states, `[slots, width]`.
#[derive(Debug)]
pub(crate) struct KvCache {
    widths: Vec<usize>,
    n_slots: usize,
    pool: Vec<Vec<f32>>,
    copy: Option<DeviceCopy>,
}

/// The pool on a GPU. Few passes write to the pool and many read it, so it goes there when a pass reads what has changed.
#[derive(Debug)]
struct DeviceCopy {
    device: i32,
    tensors: Vec<Tensor<f32>>,
    /// Slots below this one are as in the pool.
    valid: usize,
}

impl KvCache {
    /// `gpu` is the device that the graph runs on, if it is one.
    pub(crate) fn new(widths: Vec<usize>, gpu: Option<i32>) -> Self {
        let copy = gpu.map(|device| DeviceCopy { device, tensors: Vec::new(), valid: 0 });
        let mut cache = Self { n_slots: 0, pool: vec![Vec::new(); widths.len()], widths, copy };
        cache.resize(1);
        cache
    }

    /// Makes room for so many slots; what was there is forgotten. A runtime may refuse a tensor without elements, so
    /// there is always one slot, and nothing has ever been written to the first state's.
    pub(crate) fn resize(&mut self, n_slots: usize) {
        self.n_slots = n_slots.max(1);
        for (values, width) in self.pool.iter_mut().zip(&self.widths) {
            let len = self.n_slots * width;
            // A smaller plan gives memory back.
            if values.capacity() > 2 * len {
                *values = Vec::new();
            }
            values.resize(len, 0.0);
        }
        if let Some(copy) = &mut self.copy {
            (copy.tensors, copy.valid) = (Vec::new(), 0);
        }
    }

    /// The whole pool, as a graph that gathers slots itself takes it: on the CPU nothing is copied.
    pub(crate) fn inputs(&mut self, pass: &Pass) -> Result<Vec<SessionInputValue<'_>>> {
        let fail = |e: ort::Error| runtime_error("passing the cache", &e);
        let n_slots = self.n_slots;
        let views =
            self.pool.iter().zip(&self.widths).map(|(values, width)| {
                TensorRef::from_array_view(([n_slots, *width], values.as_slice())).map_err(fail)
            });
        let Some(copy) = &mut self.copy else {
            return views.map(|view| Ok(view?.into())).collect();
        };
        let read = pass.past.iter().max().map_or(0, |slot| slot + 1);
        if copy.tensors.is_empty() || read > copy.valid {
            copy.tensors =
                views.map(|view| view?.to(AllocationDevice::CUDA, copy.device).map_err(fail)).collect::<Result<_>>()?;
            copy.valid = self.n_slots;
        }
        Ok(copy.tensors.iter().map(Into::into).collect())
    }

    /// The past of every row, `[rows, heads, past_len, head_dim]`: for graphs that cannot gather slots themselves.
    pub(crate) fn gathered(&self, shape: CacheShape, pass: &Pass) -> Result<Vec<Tensor<f32>>> {
        let CacheShape { n_heads, head_dim, .. } = shape;
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

    /// Puts new tokens, or the states of rows, into their slots: `values` is `[rows, new_len, heads · head_dim]` of one
    /// layer's keys or values, or `[rows, width]`.
    pub(crate) fn store(&mut self, half: usize, first_slot: usize, values: &[f32]) {
        let start = first_slot * self.widths[half];
        if let Some(copy) = &mut self.copy {
            copy.valid = copy.valid.min(first_slot);
        }
        self.pool[half][start..start + values.len()].copy_from_slice(values);
    }

    /// The same from `[rows, heads, past_len + new_len, head_dim]`, of which the past is there already.
    pub(crate) fn store_last(
        &mut self,
        shape: CacheShape,
        half: usize,
        first_slot: usize,
        pass: &Pass,
        values: &[f32],
    ) {
        let CacheShape { n_heads, head_dim, .. } = shape;
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
