//! `--roofline` on the terminal: how far judging stands from what the runtime itself reaches.

use alike::bench::roofline::{Standing, standings};
use alike::bench::{Bench, Cell, Repeat, Timing};
use alike::engine::provider::ExecutionProvider;
use alike::stats::quantile;

use crate::cli::bench::numbers::digits;
use crate::cli::tables::table;

/// A block for each cell whose ceilings were measured.
pub(crate) fn print(bench: &Bench) {
    for (cell, repeats, standings) in standings(bench) {
        print_cell(bench, cell, repeats, &standings);
    }
}

/// Bars that judging on a CPU is held to.
const BARS: [&str; 4] = ["<= 1.05", ">= 0.95", ">= 0.75", "<= 600"];

fn print_cell(bench: &Bench, cell: &Cell, repeats: &[Repeat], standings: &[Standing]) {
    let median =
        |values: &mut dyn Iterator<Item = f64>| quantile(&values.collect::<Vec<f64>>(), 0.5).unwrap_or(f64::NAN);
    let timed = |value: fn(&Timing) -> f64| median(&mut repeats.iter().map(|repeat| value(&repeat.timing)));
    let stood = |value: fn(&Standing) -> f64| median(&mut standings.iter().map(value));
    let (size, n) = (&repeats[0].timing.size, bench.settings.n as f64);
    let seconds = timed(|t| t.seconds);
    let weights = bench.model(cell).map_or(0, |model| model.weight_bytes);
    let memory = repeats.iter().map(|repeat| repeat.timing.peak_rss_bytes).collect::<Option<Vec<u64>>>();
    let over_weights = |memory: Vec<u64>| (memory.into_iter().max().unwrap_or(0) as f64 - weights as f64) / 1e6;
    let held = cell.shares() && cell.provider == ExecutionProvider::Cpu;
    let bar = |place: usize| if held { BARS[place] } else { "" };
    let share = |part: f64| format!("{:.1} %", 100.0 * part / seconds);
    let mut rows = vec![
        ("triplets/s", digits(timed(Timing::triplets_per_second)), ""),
        ("distinct tokens a triplet", format!("{:.2}", size.distinct_tokens as f64 / n), ""),
        (
            "tokens computed / distinct",
            format!("{:.3}", size.computed_tokens as f64 / size.distinct_tokens as f64),
            bar(0),
        ),
        ("tokens a pass", digits(size.computed_tokens as f64 / size.passes as f64), ""),
        ("session time / time", format!("{:.3}", timed(|t| t.session_seconds / t.seconds)), bar(1)),
        ("product of square matrices, GFLOP/s", digits(stood(|s| s.flops_per_second) / 1e9), ""),
        ("elementwise operators, GB/s", digits(stood(|s| s.bytes_per_second) / 1e9), ""),
        ("floor, GFLOP a triplet", digits(stood(|s| s.arithmetic_seconds * s.flops_per_second) / n / 1e9), ""),
        ("floor / time / product's rate", format!("{:.3}", stood(Standing::efficiency)), bar(2)),
        ("weights once a pass / time", format!("{:.3}", stood(|s| s.weights_seconds / s.seconds)), ""),
    ];
    rows.extend(memory.map(|memory| ("peak memory over the weights, MB", digits(over_weights(memory)), bar(3))));
    let stages = [
        ("stage: tokenise, beside the model", timed(|t| t.stages.tokenise)),
        ("stage: plan, beside the model", timed(|t| t.stages.plan)),
        ("stage: session", timed(|t| t.session_seconds)),
        ("stage: inputs and outputs of passes", timed(|t| t.stages.model - t.session_seconds)),
        ("stage: score, beside the model", timed(|t| t.stages.score)),
        ("waiting: nothing for the model to do", timed(|t| t.seconds - t.stages.model)),
    ];
    rows.extend(stages.map(|(name, part)| (name, share(part), "")));
    println!(
        "\nroofline of {cell}: medians of {} repeats, each between two measurements of the ceilings",
        standings.len()
    );
    let line = |(name, value, bar): (&str, String, &str)| vec![name.to_owned(), value, bar.to_owned()];
    println!("{}", table(&["what", "value", "bar"], rows.into_iter().map(line), 1));
}
