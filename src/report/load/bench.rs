//! What a benchmark was made with.

use crate::bench::{Bench, ModelRecord};

/// The machine and the models, a line each.
pub(super) fn provenance(bench: &Bench) -> Vec<(String, String)> {
    let (machine, settings) = (&bench.machine, &bench.settings);
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
    let memory = machine
        .memory_bytes
        .map_or_else(|| "unknown".into(), |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)));
    let line = |name: &str, value: String| (format!("benchmark: {name}"), value);
    let mut lines = vec![
        line("alike", bench.alike.clone()),
        line("processor", format!("{}, {} processors", known(&machine.cpu), machine.cores)),
        line("memory", memory),
        line("system", format!("{}, Linux {}", known(&machine.os), known(&machine.kernel))),
        line("ONNX Runtime", machine.runtime.clone()),
        line("energy", machine.energy.clone()),
        line("presentations", format!("{}, seed {}, sha256 {}", settings.n, settings.seed, settings.presentations)),
    ];
    lines.extend(machine.gpus.iter().map(|gpu| line("GPU", gpu.clone())));
    let digests = |model: &ModelRecord| {
        let each: Vec<String> = model.digests.iter().map(|(name, digest)| format!("{name} sha256 {digest}")).collect();
        line(&model.name, format!("{}; {}", model.precision, each.join(", ")))
    };
    lines.extend(bench.models.iter().map(digests));
    let loads = bench.measured().filter_map(|(_, _, summary)| summary.most_load).reduce(f64::max);
    lines.extend(loads.map(|load| line("highest load average", format!("{load:.2}"))));
    lines
}
