//! `alike report`: the page of a study.

use std::path::PathBuf;

use alike::report::data::{Ingredients, ReportData};
use alike::store::alignment::AlignmentRow;
use alike::store::folder::StudyFolder;
use clap::Args;

use crate::cli::tables::{effects_table, ranking_table};
use crate::cli::{Common, regress};

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Output folder of a study, or of `alike regress`
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Print the ranking too, and what was found of ingredients
    #[arg(long)]
    table: bool,
}

pub(crate) fn run(args: &ReportArgs, common: &Common) -> anyhow::Result<()> {
    let page = Page::write(&StudyFolder::new(&args.out))?;
    match args.table {
        true => page.tell(common),
        false => page.tell_place(common),
    }
    Ok(())
}

/// A page that was written.
pub(crate) struct Page {
    data: ReportData,
    /// The page first, then figures and their numbers.
    files: Vec<PathBuf>,
}

impl Page {
    /// Writes the page of a folder and its figures.
    pub(crate) fn write(folder: &StudyFolder) -> anyhow::Result<Self> {
        let data = alike::report::load::load(folder)?;
        let files = alike::report::write(folder.root(), &data)?;
        tracing::debug!("wrote {} files of the report", files.len());
        Ok(Self { data, files })
    }

    /// Prints what the page is about, and where it is.
    pub(crate) fn tell(&self, common: &Common) {
        if !common.json {
            self.tables().iter().for_each(|table| println!("{table}\n"));
        }
        self.tell_place(common);
    }

    fn tell_place(&self, common: &Common) {
        match common.json {
            true => println!("{}", self.summary()),
            false => println!("report: {}", self.files[0].display()),
        }
    }

    /// One for each thing that there is.
    fn tables(&self) -> Vec<String> {
        let ranking = (!self.data.alignment.is_empty()).then(|| ranking_table(&self.data.alignment).to_string());
        ranking.into_iter().chain(self.data.ingredients.iter().flat_map(found)).collect()
    }

    /// For machines.
    fn summary(&self) -> serde_json::Value {
        let row = |r: &AlignmentRow| {
            serde_json::json!({
                "respondent": r.respondent, "fit": r.fit, "reference": r.reference, "measure": r.measure, "value": r.value,
                "lo": r.lo, "hi": r.hi, "null_mean": r.null_mean, "p": r.p, "ceiling": r.ceiling, "chance": r.chance,
                "normalised": r.normalised, "ceiling_lo": r.ceiling_lo, "ceiling_hi": r.ceiling_hi,
                "ceiling_match": r.ceiling_match, "chance_lo": r.chance_lo, "chance_hi": r.chance_hi,
                "subject_mean": r.subject_mean, "noise_ceiling_lo": r.noise_ceiling_lo, "noise_ceiling_hi": r.noise_ceiling_hi,
            })
        };
        let effects = self.data.ingredients.iter().flat_map(|found| &found.effects).map(|effect| {
            let (lo, hi) = effect.interval.unzip();
            serde_json::json!({
                "term": effect.term, "value": effect.value, "lo": lo, "hi": hi, "p": effect.p, "p_holm": effect.p_holm,
            })
        });
        serde_json::json!({
            "report": self.files[0], "files": self.files,
            "alignment": self.data.alignment.iter().map(row).collect::<Vec<_>>(), "effects": effects.collect::<Vec<_>>(),
        })
    }
}

/// What `alike regress` found.
fn found(found: &Ingredients) -> Vec<String> {
    let model = (!found.effects.is_empty())
        .then(|| format!("mixed model of {} models\n\n{}", found.n_fitted, effects_table(&found.effects)));
    let correlations = regress::correlations_text(&found.correlations, &found.asked);
    let claims = (!found.answers.is_empty()).then(|| regress::claims_table(&found.answers).to_string());
    let there = format!("{} models with their scores and properties; nothing more was found", found.models.len());
    match [model, correlations, claims].into_iter().flatten().collect::<Vec<_>>() {
        none if none.is_empty() => vec![there],
        tables => tables,
    }
}
