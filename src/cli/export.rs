//! `alike export`: answers as other programs take them.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use alike::concepts::Concepts;
use alike::store::choices::AnswerFiles;
use alike::store::export::{self, Exported, Naming};
use alike::store::judgments::{self, Respondent};
use alike::store::table::write_atomically;
use clap::{Args, ValueEnum};

use crate::cli::Common;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// One respondent's folder of judgments; for things and cblearn also any table of answers that `alike embed` takes
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    format: Format,
    /// The list whose entries numbers count, from 0; the names in the answers, sorted, unless given
    #[arg(long, value_name = "FILE")]
    concepts: Option<PathBuf>,
    /// Output file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace output that is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Odd-one-out answers as THINGS has them: three numbers a line, the odd one last
    Things,
    /// Anchored answers as cblearn takes them: CSV of `anchor,near,far`, numbers
    Cblearn,
    /// The same with names
    CblearnNames,
    /// Judgments of a language model as lm-evaluation-harness logs samples: JSON lines
    LmEval,
}

pub(crate) fn run(args: &ExportArgs, common: &Common) -> anyhow::Result<()> {
    if args.out.exists() && !args.force {
        return Err(alike::Error::Exists { path: args.out.clone() }.into());
    }
    // What goes wrong with the answers is not an error of the file that is written.
    let mut done = Ok(Exported::default());
    let written = write_atomically(&args.out, |file| {
        let mut out = BufWriter::new(file);
        done = args.write(&mut out);
        out.flush()?;
        if done.is_ok() { Ok(()) } else { Err(std::io::Error::other("there is nothing to write")) }
    });
    let Exported { n, n_unanswered } = done?;
    written?;
    tracing::info!("{n} answers, {n_unanswered} rows without one → {}", args.out.display());
    if common.json {
        println!("{}", serde_json::json!({ "answers": n, "unanswered": n_unanswered, "out": args.out }));
    }
    Ok(())
}

impl ExportArgs {
    fn write(&self, out: &mut impl Write) -> alike::Result<Exported> {
        let answers = || {
            let concepts = self.concepts.as_ref().map(|path| Concepts::read_csv(path)).transpose()?;
            AnswerFiles::open(&self.path, concepts, None)
        };
        match self.format {
            Format::Things => export::write_things(&answers()?, out),
            Format::Cblearn => export::write_cblearn(&answers()?, Naming::Numbers, out),
            Format::CblearnNames => export::write_cblearn(&answers()?, Naming::Names, out),
            Format::LmEval => export::write_samples(&self.respondent()?, out),
        }
    }

    /// The one respondent in the folder.
    fn respondent(&self) -> alike::Result<Respondent> {
        let mut found = judgments::respondents(&self.path)?;
        if found.len() > 1 {
            let labels: Vec<&str> = found.iter().map(|respondent| respondent.label.as_str()).collect();
            return Err(alike::Error::Setting {
                field: "PATH".into(),
                found: format!("{} with the respondents {}", self.path.display(), labels.join(", ")),
                expected: "the folder of one, `…/respondent=LABEL`".into(),
            });
        }
        Ok(found.remove(0))
    }
}
