//! What the runtime itself reaches on a machine: its matrix product, and its way to memory.
//!
//! Both are graphs that take one number, spread it over a large tensor, work on that and give its largest element back: on a GPU
//! nothing large crosses the bus, and the result says whether the work was done.

use std::time::Instant;

use ort::session::Session;
use ort::value::Tensor;
use serde::{Deserialize, Serialize};

use crate::engine::graph_bytes::{GraphBytes, Kind};
use crate::engine::provider::{ExecutionProvider, Gpu, Runtime, Shapes, runtime_error};
use crate::engine::session::{Source, start};
use crate::error::{Error, Result};
use crate::stats::quantile;

/// Rates that the runtime reached in one process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Floating-point operations a second of a product of square matrices whose right side is constant, as weights are.
    pub flops_per_second: f64,
    /// Bytes read and written a second by elementwise operators on a tensor larger than the caches.
    pub bytes_per_second: f64,
}

/// How large the work is.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Rows and columns of the matrices, a power of two.
    side: u64,
    /// Products in one run, which share their right side.
    products: usize,
    /// Elements of the tensor that elementwise operators go over.
    elements: u64,
}

impl Size {
    /// On a CPU a model's own shapes (SmolLM2-135M's, 576 to 1,536 wide) run within 5 % of such a product; a GPU needs larger ones,
    /// and many of them, to be busy.
    fn on(provider: ExecutionProvider) -> Self {
        match provider {
            ExecutionProvider::Cpu => Self { side: 1024, products: 4, elements: 1 << 25 },
            ExecutionProvider::Cuda | ExecutionProvider::TensorRt => {
                Self { side: 4096, products: 64, elements: 1 << 28 }
            }
        }
    }
}

/// Each rate is a median over so many seconds.
const SECONDS: f64 = 3.0;

/// Runs of each graph at least.
const LEAST_RUNS: usize = 5;

/// Elementwise operators of the two graphs whose times are subtracted, so that spreading and the largest element fall out.
const OPERATORS: [usize; 2] = [4, 20];

/// Measures the rate of the matrix product in a precision, and of elementwise operators in f32.
///
/// A precision that is neither half nor bfloat is measured in f32, which integers are turned into.
///
/// # Errors
/// [`Error::Runtime`] in the runtime's words, also where it computes something else than it should.
pub fn measure(
    runtime: &Runtime,
    provider: ExecutionProvider,
    gpu: &Gpu,
    precision: &str,
    threads: usize,
) -> Result<Ceilings> {
    let size = Size::on(provider);
    let open = |graph: &[u8]| start(&Source::Bytes(graph), runtime, (provider, gpu, threads), &Shapes::default());
    let mut product = open(&products(size, kind_of(precision)))?;
    let seconds = medians([&mut product])?[0];
    drop(product);
    let flops = 2.0 * (size.side as f64).powi(3) * size.products as f64;

    let [mut few, mut many] = [open(&operators(size, OPERATORS[0]))?, open(&operators(size, OPERATORS[1]))?];
    let [short, long] = medians([&mut few, &mut many])?;
    // Each operator reads the tensor and writes it.
    let bytes = (OPERATORS[1] - OPERATORS[0]) as f64 * 2.0 * size.elements as f64 * size_of::<f32>() as f64;
    if long <= short {
        return Err(wrong(format!("{} operators took no longer than {}", OPERATORS[1], OPERATORS[0])));
    }
    Ok(Ceilings { flops_per_second: flops / seconds, bytes_per_second: bytes / (long - short) })
}

fn kind_of(precision: &str) -> Kind {
    match precision {
        "fp16" => Kind::F16,
        "bf16" => Kind::BF16,
        _ => Kind::F32,
    }
}

/// x spread over a square, times the same constant square again and again. Every element of that is 1 / side, exact in all
/// precisions, so that the product of ones is ones.
fn products(size: Size, kind: Kind) -> Vec<u8> {
    let mut graph = GraphBytes::new(&[1]);
    let x = if kind == Kind::F32 { "x".to_owned() } else { graph.cast("x", kind) };
    let shape = graph.constant(Kind::I64, &[2], &[size.side.to_le_bytes(), size.side.to_le_bytes()].concat());
    #[allow(clippy::cast_possible_truncation, reason = "a power of two")]
    let bits = (1.0 / size.side as f64) as f32;
    let element = match kind {
        // The sign and exponent of f32 and of half precision differ by their bias; there is no mantissa in a power of two.
        Kind::F16 => u16::try_from(((bits.to_bits() >> 23) + 15 - 127) << 10).expect("16 bits").to_le_bytes().to_vec(),
        Kind::BF16 => u16::try_from(bits.to_bits() >> 16).expect("16 bits").to_le_bytes().to_vec(),
        Kind::F32 | Kind::I64 => bits.to_le_bytes().to_vec(),
    };
    let n = usize::try_from(size.side * size.side).expect("it fits memory");
    let weight = graph.constant(kind, &[size.side, size.side], &element.repeat(n));
    let mut value = graph.node("Expand", &[&x, &shape]);
    for _ in 0..size.products {
        value = graph.node("MatMul", &[&value, &weight]);
    }
    if kind != Kind::F32 {
        value = graph.cast(&value, Kind::F32);
    }
    let largest = graph.node("ReduceMax", &[&value]);
    graph.giving(&largest, &[1, 1])
}

/// x spread over a long tensor, doubled and halved in turn.
fn operators(size: Size, n: usize) -> Vec<u8> {
    let mut graph = GraphBytes::new(&[1]);
    let shape = graph.constant(Kind::I64, &[1], &size.elements.to_le_bytes());
    let [double, half] = [2.0_f32, 0.5].map(|factor| graph.constant(Kind::F32, &[1], &factor.to_le_bytes()));
    let mut value = graph.node("Expand", &["x", &shape]);
    for i in 0..n {
        value = graph.node("Mul", &[&value, if i % 2 == 0 { &double } else { &half }]);
    }
    let largest = graph.node("ReduceMax", &[&value]);
    graph.giving(&largest, &[1])
}

/// Median seconds of a run of each graph, in turn.
fn medians<const N: usize>(mut sessions: [&mut Session; N]) -> Result<[f64; N]> {
    let mut times = [const { Vec::new() }; N];
    // Memory is taken, kernels are chosen.
    sessions.iter_mut().try_for_each(|session| once(session).map(drop))?;
    let began = Instant::now();
    while times[0].len() < LEAST_RUNS || began.elapsed().as_secs_f64() < SECONDS {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            times.push(once(session)?);
        }
    }
    let mut medians = [0.0; N];
    for (median, times) in medians.iter_mut().zip(&times) {
        *median = quantile(times, 0.5)?;
    }
    Ok(medians)
}

/// Seconds of one run on the number 1, which comes back.
fn once(session: &mut Session) -> Result<f64> {
    let fail = |e: &ort::Error| runtime_error("measuring what it reaches", e);
    let one = Tensor::from_array(([1_usize], vec![1.0_f32])).map_err(|e| fail(&e))?;
    let started = Instant::now();
    let outputs = session.run(ort::inputs![one]).map_err(|e| fail(&e))?;
    let seconds = started.elapsed().as_secs_f64();
    let (_, values) = outputs[0].try_extract_tensor::<f32>().map_err(|e| fail(&e))?;
    match values {
        [value] if (value - 1.0).abs() < 1e-3 => Ok(seconds),
        other => Err(wrong(format!("{other:?} came of 1"))),
    }
}

fn wrong(message: String) -> Error {
    Error::Runtime { doing: "measuring what it reaches".into(), message, out_of_memory: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_does_the_work_in_every_precision() {
        let runtime = Runtime::load(None).expect("`make setup` installs the runtime library");
        let size = Size { side: 64, products: 3, elements: 1000 };
        let open = |graph: &[u8]| {
            let place = (ExecutionProvider::Cpu, &Gpu::default(), 1);
            start(&Source::Bytes(graph), runtime, place, &Shapes::default()).unwrap()
        };
        for kind in [Kind::F32, Kind::F16] {
            assert!(once(&mut open(&products(size, kind))).unwrap() > 0.0);
        }
        // An even number of doublings and halvings gives 1, an odd one 2.
        assert!(once(&mut open(&operators(size, 6))).is_ok());
        assert!(once(&mut open(&operators(size, 5))).unwrap_err().to_string().contains("came of 1"));
    }
}
