//! What a plan would cost, for `--dry-run`.

use alike::engine::signature::{Pool, Signature};
use alike::model_folder::Flops;
use alike::prompts::plan::PlanSize;

use crate::cli::Common;

/// The plan of everything that one model would be asked.
pub(crate) struct PlanReport<'a> {
    pub(crate) label: &'a str,
    /// What is counted: "triplet", "request".
    pub(crate) what: &'static str,
    pub(crate) n: usize,
    pub(crate) n_parts: usize,
    pub(crate) size: PlanSize,
    pub(crate) signature: &'a Signature,
    pub(crate) flops: Option<Flops>,
}

impl PlanReport<'_> {
    /// Prints it, for people or as JSON.
    pub(crate) fn print(&self, common: &Common) {
        let Self { label, what, n, n_parts, size, signature, flops } = self;
        let strategy = signature.strategy();
        let cache_bytes = size.cache_tokens * signature.pool.as_ref().map_or(0, Pool::slot_bytes);
        let flops =
            flops.map(|f| f.per_token * size.computed_tokens as f64 + f.per_scored * size.scored_positions as f64);
        if common.json {
            let mut summary = serde_json::json!({
                "respondent": label, "strategy": strategy, "plan": size, "cache_bytes": cache_bytes, "flops": flops,
            });
            summary[format!("{what}s")] = (*n).into();
            println!("{summary}");
            return;
        }
        let each = *n as f64;
        let line = |what: &str, count: usize, unit: &str| {
            println!("  {what:<40}{count:>14}  {:8.1}{unit}", count as f64 / each);
        };
        println!("{label}: {n} {what}s in {n_parts} parts");
        println!("  strategy {strategy}: {}", signature.reason());
        line("tokens if every option were a request", size.logical_tokens, &format!(" a {what}"));
        line("distinct tokens of the trie, by part", size.distinct_tokens, "");
        line("tokens computed", size.computed_tokens, "");
        line("positions through the head", size.scored_positions, "");
        let mean = size.computed_tokens as f64 / size.passes as f64;
        println!("  {:<40}{:>14}  {mean:8.1} tokens each", "passes", size.passes);
        println!("  {:<40}{:>10} MiB", "pool of what later passes continue", cache_bytes >> 20);
        if let Some(flops) = flops {
            println!("  {:<40}{:>9.3} TFLOP  {:8.2} GFLOP a {what}", "arithmetic", flops / 1e12, flops / 1e9 / each);
        }
    }
}
