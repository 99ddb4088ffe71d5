//! The pool: a slot for every token, or state, that later passes continue.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{Session, SessionInputValue};
use ort::value::{Shape, Tensor, TensorRef, TensorRefMut};
use rayon::prelude::*;

use crate::engine::provider::runtime_error;
use crate::engine::signature::CacheShape;
use crate::error::Result;
use crate::prompts::pass::{Pass, Slot};

/// Keys and values of one layer each, key first, `[slots, heads · head_dim]`; or states, `[slots, width]`.
#[derive(Debug)]
pub(crate) struct KvCache {
    widths: Vec<usize>,
    n_slots: usize,
    pool: Vec<Vec<f32>>,
}

impl KvCache {
    pub(crate) fn new(widths: Vec<usize>) -> Self {
        let mut cache = Self { n_slots: 0, pool: vec![Vec::new(); widths.len()], widths };
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
    }

    /// The whole pool, as a graph that gathers slots itself takes it: nothing is copied.
    pub(crate) fn inputs(&self) -> Result<Vec<SessionInputValue<'_>>> {
        let views = self.pool.iter().zip(&self.widths).map(|(values, width)| {
            let view = TensorRef::from_array_view(([self.n_slots, *width], values.as_slice()));
            Ok(view.map_err(|e| runtime_error("passing the cache", &e))?.into())
        });
        views.collect()
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

/// The same pool in a GPU's memory, of a graph that gathers slots itself. The graph also writes there: what a pass keeps
/// lies in slots behind each other, which is the shape that the graph gives it in, so that nothing is ever copied.
#[derive(Debug)]
pub(crate) struct DevicePool {
    device: i32,
    widths: Vec<usize>,
    n_slots: usize,
    tensors: Vec<Tensor<f32>>,
}

impl DevicePool {
    /// An empty pool on the GPU with that index.
    pub(crate) fn new(widths: Vec<usize>, device: i32) -> Self {
        Self { device, widths, n_slots: 0, tensors: Vec::new() }
    }

    /// Makes room for so many slots; what was there is forgotten. The first slot is zero: it is the state before all
    /// tokens, and what masked places of a row read.
    ///
    /// # Errors
    /// [`Error::Runtime`](crate::error::Error::Runtime) when the GPU's memory is short.
    pub(crate) fn resize(&mut self, session: &Session, n_slots: usize) -> Result<()> {
        let n_slots = n_slots.max(1);
        let fail = |e: ort::Error| runtime_error(&format!("making room for {n_slots} slots of the cache"), &e);
        if n_slots > self.n_slots || self.n_slots > 2 * n_slots {
            self.tensors.clear();
            let allocator = Allocator::new(session, self.memory().map_err(fail)?).map_err(fail)?;
            let empty = |width: &usize| Tensor::new(&allocator, [n_slots, *width]).map_err(fail);
            self.tensors = self.widths.iter().map(empty).collect::<Result<_>>()?;
            self.n_slots = n_slots;
        }
        for (half, &width) in self.widths.iter().enumerate() {
            let zeros = Tensor::from_array(([1, width], vec![0.0_f32; width])).map_err(fail)?;
            zeros.copy_into(self.slots(half, 0, &[1, width])?).map_err(fail)?;
        }
        Ok(())
    }

    /// The whole pool, `[slots, width]` each.
    pub(crate) fn tensors(&self) -> &[Tensor<f32>] {
        &self.tensors
    }

    /// The slots that a pass keeps, for the graph to write: `[rows, new_len, width]`, or `[rows, width]` of states.
    pub(crate) fn kept(&self, half: usize, first_slot: usize, pass: &Pass) -> Result<TensorRefMut<'_, f32>> {
        let (n_rows, width) = (pass.n_rows(), self.widths[half]);
        match pass.slot {
            Slot::Token => self.slots(half, first_slot, &[n_rows, pass.new_len, width]),
            Slot::State => self.slots(half, first_slot, &[n_rows, width]),
        }
    }

    #[allow(unsafe_code, reason = "the runtime's interface has no other view into a part of a tensor on a GPU")]
    fn slots(&self, half: usize, first_slot: usize, dims: &[usize]) -> Result<TensorRefMut<'_, f32>> {
        let fail = |e: ort::Error| runtime_error("passing the cache", &e);
        let (start, n_values) = (first_slot * self.widths[half], dims.iter().product::<usize>());
        assert!(start + n_values <= self.n_slots * self.widths[half], "a pass keeps slots of the pool");
        let memory = self.memory().map_err(fail)?;
        let pool = self.tensors[half].data_ptr().cast::<f32>().cast_mut();
        let dims = Shape::new(dims.iter().map(|dim| i64::try_from(*dim).expect("a size fits i64")));
        // SAFETY: the pool's tensor holds `n_slots · width` values in the memory of this device, the part lies within it
        // (asserted above), and the pool outlives the view, which borrows it.
        unsafe { TensorRefMut::from_raw(memory, pool.add(start).cast(), dims) }.map_err(fail)
    }

    fn memory(&self) -> ort::Result<MemoryInfo<'static>> {
        MemoryInfo::new(AllocationDevice::CUDA, self.device, AllocatorType::Device, MemoryType::Default)
    }
}
