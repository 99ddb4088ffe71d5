//! `alike compact`: fewer, larger files of judgments.

use std::num::NonZeroU64;
use std::path::PathBuf;

use alike::store::judgments::{self, Respondent};
use clap::Args;

use crate::cli::Common;

#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// A study's output folder, a folder of judgments, or one respondent in it
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Write to DIR/respondent=LABEL/ and leave the parts as they are
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Rows that a file has at least, where there are so many
    #[arg(long, value_name = "N", default_value_t = NonZeroU64::new(10_000_000).expect("not 0"))]
    rows: NonZeroU64,
}

pub(crate) fn run(args: &CompactArgs, common: &Common) -> anyhow::Result<()> {
    let mut summary = Vec::new();
    for Respondent { folder, label, task } in judgments::respondents(&args.path)? {
        let to = args.out.as_ref().map(|out| judgments::respondent_path(out, &label));
        let done = judgments::compact(&folder, to.as_deref(), task, &label, args.rows.get())?;
        let place = to.as_ref().unwrap_or(&folder);
        tracing::info!(
            "{label}: {} judgments, {} files instead of {} → {}",
            done.n_rows,
            done.n_after,
            done.n_before,
            place.display()
        );
        summary.push(serde_json::json!({
            "respondent": label, "rows": done.n_rows, "before": done.n_before, "after": done.n_after, "folder": place,
        }));
    }
    if common.json {
        println!("{}", serde_json::Value::from(summary));
    }
    Ok(())
}
