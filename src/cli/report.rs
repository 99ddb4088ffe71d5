//! `alike report`: the page of a study.

use std::path::PathBuf;

use alike::store::folder::StudyFolder;
use clap::Args;

use crate::cli::Common;
use crate::cli::tables::ranking_table;

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A study's output folder
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Print the ranking too
    #[arg(long)]
    table: bool,
}

pub(crate) fn run(args: &ReportArgs, common: &Common) -> anyhow::Result<()> {
    let folder = StudyFolder::new(&args.out);
    let page = write(&folder)?;
    if args.table {
        println!("{}", ranking_table(&alike::store::alignment::read(&folder.alignment())?));
    }
    if common.json {
        println!("{}", serde_json::json!({ "report": page }));
    } else {
        println!("report: {}", page.display());
    }
    Ok(())
}

/// Writes the page and its figures; returns the page's path.
pub(crate) fn write(folder: &StudyFolder) -> anyhow::Result<PathBuf> {
    let data = alike::report::load::load(folder)?;
    let files = alike::report::write(folder.root(), &data)?;
    tracing::debug!("wrote {} files of the report", files.len());
    Ok(folder.report())
}
