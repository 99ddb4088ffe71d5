//! `alike regress`: which ingredients go with how human-like models are, and what becomes of the claims about that.

mod benchmarks;
mod model;

use std::collections::BTreeMap;
use std::path::PathBuf;

use alike::config::{BenchmarkSection, Claim, RegressFile, RegressSection};
use alike::error::Error;
use alike::ingredients::benchmarks::{Correlated, correlations};
use alike::ingredients::multiplicity::Adjustment;
use alike::ingredients::summary::summary;
use alike::ingredients::{Method, Summary, Table, Variant};
use alike::store::ingredients::{AnswerRow, Numbers};
use alike::store::manifest::Fingerprint;
use alike::store::{ingredients, models};
use clap::Args;
use serde::Serialize;

use crate::cli::Common;
use crate::cli::tables::{p_value, table};

#[derive(Debug, Args)]
pub(crate) struct RegressArgs {
    /// File with `[study]` and `[regress]`, such as data/studies/paper.toml
    #[arg(value_name = "STUDY", required_unless_present = "alignment", conflicts_with = "alignment")]
    study: Option<PathBuf>,
    /// Only this claim
    #[arg(long, value_name = "KEY", requires = "study")]
    claim: Option<String>,
    /// Only this variant; `as given` is the tables as they are
    #[arg(long, value_name = "NAME", requires = "study")]
    variant: Option<String>,
    #[command(flatten)]
    tables: TableArgs,
}

/// Tables and a model without a file.
#[derive(Debug, Args)]
struct TableArgs {
    /// Scores: an alignment.parquet, or a CSV table with `model` and the response
    #[arg(long, value_name = "FILE", requires = "models")]
    alignment: Option<PathBuf>,
    /// Properties: CSV tables with `model`
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "alignment")]
    models: Vec<PathBuf>,
    /// The mixed model, such as `r2 ~ instruct + z(layers) + (1 | family)`
    #[arg(long, value_name = "FORMULA", requires = "alignment")]
    formula: Option<String>,
    /// Which fit of an alignment.parquet
    #[arg(long, value_name = "NAME", requires = "alignment")]
    fit: Option<String>,
    /// Which of its measures is the response
    #[arg(long, value_name = "KEY", requires = "alignment")]
    measure: Option<String>,
    /// Name of the response, a column of a CSV table
    #[arg(long, value_name = "COLUMN", requires = "alignment")]
    response: Option<String>,
    /// Columns of benchmark scores to correlate with the response
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "alignment")]
    benchmarks: Vec<String>,
    /// Quantities held fixed in partial correlations with benchmarks
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "benchmarks")]
    given: Vec<String>,
    /// Folder for the tables; they are printed in any case
    #[arg(long, value_name = "DIR", requires = "alignment")]
    out: Option<PathBuf>,
}

impl TableArgs {
    /// The section that the flags stand for.
    fn section(&self) -> anyhow::Result<RegressSection> {
        let mut section = RegressSection {
            scores: self.alignment.clone(),
            tables: self.models.clone(),
            formula: self.formula.clone(),
            ..RegressSection::default()
        };
        let set = |place: &mut String, value: &Option<String>| value.iter().for_each(|value| place.clone_from(value));
        set(&mut section.fit, &self.fit);
        set(&mut section.measure, &self.measure);
        set(&mut section.response, &self.response);
        if !self.benchmarks.is_empty() {
            section.benchmarks = Some(BenchmarkSection {
                columns: self.benchmarks.clone(),
                measures: vec![section.response.clone()],
                given: self.given.clone(),
            });
        }
        if section.formula.is_none() && section.benchmarks.is_none() {
            anyhow::bail!("nothing is asked: give --formula or --benchmarks");
        }
        Ok(section)
    }
}

pub(crate) fn run(args: &RegressArgs, common: &Common) -> anyhow::Result<()> {
    let (file, command) = match (&args.study, &args.tables.out) {
        (Some(study), _) => (RegressFile::read(study)?, format!("alike regress {}", study.display())),
        (None, out) => {
            let name = out.iter().find_map(|out| out.file_name()).unwrap_or_default().to_string_lossy().into_owned();
            (RegressFile::new(name, out.clone().unwrap_or_default(), args.tables.section()?), String::new())
        }
    };
    let answers = if args.claim.is_none() && args.variant.is_none() {
        let answers = answer(&file.regress, &command)?;
        if args.study.is_some() || args.tables.out.is_some() {
            answers.write(&file)?;
        }
        answers
    } else {
        let table = file.regress.table()?;
        let claims = lines(&file.regress, &table, args.claim.as_deref(), args.variant.as_deref(), &command)?;
        Answers { table, model: None, claims, correlations: vec![] }
    };
    if common.json {
        println!("{}", serde_json::to_string(&answers)?);
        return Ok(());
    }
    if let Some(summary) = &answers.model {
        println!("{}\n", model::text(summary));
    }
    if let Some(correlations) = correlations_text(&answers.correlations, &file.regress) {
        println!("{correlations}\n");
    }
    if !answers.claims.is_empty() {
        println!("{}\n\n{}", claims_table(&answers.claims), glossary(&answers.claims));
    }
    Ok(())
}

/// Correlations with benchmarks, where any were asked for and there are some.
pub(super) fn correlations_text(rows: &[Correlated], asked: &RegressSection) -> Option<String> {
    asked.benchmarks.as_ref().filter(|_| !rows.is_empty()).map(|asked| benchmarks::text(rows, asked))
}

/// What a section asks for.
#[derive(Debug, Serialize)]
pub(crate) struct Answers {
    /// The models with their scores and properties.
    #[serde(skip)]
    table: Table,
    /// The mixed model of the tables as they are.
    model: Option<Summary>,
    claims: Vec<AnswerRow>,
    correlations: Vec<Correlated>,
}

/// All answers to a section; `command` asks them.
pub(crate) fn answer(section: &RegressSection, command: &str) -> anyhow::Result<Answers> {
    let table = section.table()?;
    let formula = section.formula.as_deref().map(str::parse).transpose()?;
    let model = formula.map(|formula| summary(&formula, &table, Method::Reml)).transpose()?;
    let claims = lines(section, &table, None, None, command)?;
    let correlations = match &section.benchmarks {
        Some(asked) => correlations(&table, &asked.measures, &asked.columns, &asked.given)?,
        None => vec![],
    };
    Ok(Answers { table, model, claims, correlations })
}

impl Answers {
    /// Writes everything that there is to the folder of a file.
    pub(crate) fn write(&self, file: &RegressFile) -> anyhow::Result<()> {
        let (folder, fingerprint) = (file.folder(), fingerprint(&file.regress)?);
        fs_err::create_dir_all(folder.root())?;
        let text = toml::to_string_pretty(file)?;
        alike::store::table::write_atomically(&folder.regress(), |out| {
            std::io::Write::write_all(out, text.as_bytes())
        })?;
        models::write(&folder.models(), &self.table, &fingerprint)?;
        if let Some(model) = &self.model {
            let path = folder.mixed_model();
            crate::cli::write_json(&path, &serde_json::to_value(model)?)?;
            tracing::info!("the mixed model of {} models → {}", model.n, path.display());
        }
        if !self.claims.is_empty() {
            let path = folder.ingredients();
            ingredients::write(&path, &self.claims, &fingerprint)?;
            tracing::info!("{} answers about {} models → {}", self.claims.len(), self.table.len(), path.display());
        }
        if file.regress.benchmarks.is_some() {
            let path = folder.benchmarks();
            ingredients::write_correlations(&path, &self.correlations, &fingerprint)?;
            tracing::info!("{} correlations → {}", self.correlations.len(), path.display());
        }
        Ok(())
    }
}

/// What the answers were made from.
fn fingerprint(section: &RegressSection) -> alike::Result<Fingerprint> {
    let questions = serde_json::to_string(&(
        &section.response,
        &section.formula,
        &section.benchmarks,
        &section.variants,
        &section.claims,
    ));
    let mut fingerprint = Fingerprint::default()
        .with("questions", questions.expect("questions are JSON"))
        .with("scores", format!("{} of {}", section.measure, section.fit));
    for (at, path) in section.scores.iter().chain(&section.tables).enumerate() {
        fingerprint = fingerprint.with(&format!("table {at}"), alike::model_folder::file_digest(path)?);
    }
    Ok(fingerprint)
}

/// Every claim of every variant that was asked for.
fn lines(
    section: &RegressSection,
    table: &Table,
    claim: Option<&str>,
    variant: Option<&str>,
    command: &str,
) -> anyhow::Result<Vec<AnswerRow>> {
    let as_given = Variant { name: Variant::AS_GIVEN.into(), ..Variant::default() };
    let variants: Vec<&Variant> = [&as_given].into_iter().chain(&section.variants).collect();
    let variants = chosen("variant", &variants, variant, |variant| &variant.name)?;
    let wanted: Vec<&Claim> = section.claims.iter().collect();
    let wanted = chosen("claim", &wanted, claim, |claim| &claim.key)?;
    let mut of_variants = vec![];
    for variant in variants {
        let table = variant.of(table)?;
        let rows = section.claims.iter().map(|claim| line(claim, variant, &table, section, command));
        let mut rows = rows.collect::<alike::Result<Vec<AnswerRow>>>()?;
        // Of all claims, whichever were asked for: one line says the same alone as among the others.
        let tested: Vec<usize> = (0..rows.len()).filter(|&at| rows[at].numbers.p.is_some()).collect();
        let p: Vec<f64> = tested.iter().filter_map(|&at| rows[at].numbers.p).collect();
        for (&at, p) in tested.iter().zip(Adjustment::Holm.adjusted(&p)) {
            rows[at].p_holm = Some(p);
        }
        of_variants.push(rows);
    }
    let of_claim =
        |claim: &&Claim| of_variants.iter().flatten().filter(|row| row.claim == claim.key).cloned().collect::<Vec<_>>();
    Ok(wanted.iter().flat_map(of_claim).collect())
}

/// The one with a name, or all.
fn chosen<'a, T>(
    what: &str,
    all: &[&'a T],
    name: Option<&str>,
    of: impl Fn(&T) -> &String,
) -> alike::Result<Vec<&'a T>> {
    let Some(name) = name else { return Ok(all.to_vec()) };
    match all.iter().find(|one| of(one) == name) {
        Some(one) => Ok(vec![one]),
        None => Err(Error::Setting {
            field: what.into(),
            found: format!("{name:?}"),
            expected: all.iter().map(|one| of(one).as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn line(
    claim: &Claim,
    variant: &Variant,
    table: &Table,
    section: &RegressSection,
    command: &str,
) -> alike::Result<AnswerRow> {
    // A column that is not there is a fault of the file; too few models for a test is a fact about the variant.
    let (answer, error) = match claim.ask.ask(table, &section.response, section.formula.as_deref()) {
        Ok(answer) => (Some(answer), None),
        Err(error @ Error::TooFew { .. }) => (None, Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let verdict = answer.as_ref().map(|answer| claim.expect.judge(&answer.found, claim.margin)).transpose()?;
    Ok(AnswerRow {
        claim: claim.key.clone(),
        says: claim.says.clone(),
        source: claim.source.clone(),
        variant: variant.name.clone(),
        expect: claim.expect,
        what: claim.ask.unit(),
        numbers: answer.as_ref().map(|answer| answer.found.into()).unwrap_or_default(),
        p_holm: None,
        left_out: answer.map(|answer| answer.left_out).unwrap_or_default(),
        verdict,
        error,
        command: format!("{command} --claim {} --variant '{}'", claim.key, variant.name),
    })
}

/// The answers; those of a variant only where they are not the same as those of the tables as they are.
pub(super) fn claims_table(lines: &[AnswerRow]) -> comfy_table::Table {
    let header = ["claim", "variant", "estimate", "95 % interval", "p", "p (Holm)", "n", "verdict"];
    let as_given =
        |line: &AnswerRow| lines.iter().find(|other| other.claim == line.claim && other.variant == Variant::AS_GIVEN);
    let differs = |line: &&AnswerRow| {
        line.variant == Variant::AS_GIVEN || as_given(line).is_none_or(|other| other.numbers != line.numbers)
    };
    let mut last = "";
    let rows = lines.iter().filter(differs).map(|line| {
        let claim = if line.claim == last { String::new() } else { line.claim.clone() };
        last = &line.claim;
        let [estimate, interval, p, n] = numbers(&line.numbers);
        let holm = line.p_holm.map_or_else(|| "–".to_owned(), p_value);
        let verdict = line.verdict.map(|verdict| verdict.text().to_owned()).or(line.error.clone()).unwrap_or_default();
        vec![claim, line.variant.clone(), estimate, interval, p, holm, n, verdict]
    });
    table(&header, rows, 2)
}

/// What the claims of the table are, and what their numbers.
fn glossary(lines: &[AnswerRow]) -> String {
    let mut text = String::new();
    for line in lines.iter().filter(|line| line.variant == lines[0].variant) {
        let source = if line.source.is_empty() { String::new() } else { format!(" ({})", line.source) };
        text += &format!("{}: {}{source}. {}", line.claim, line.says, line.what);
        if !line.left_out.is_empty() {
            text += &format!("; without {}", left_out(&line.left_out));
        }
        text += "\n";
    }
    text
}

/// Models that could not be used, by the cell that they lack; many of them as a number.
pub(super) fn left_out(rows: &[(String, String)]) -> String {
    let mut by_column: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    rows.iter().for_each(|(model, column)| by_column.entry(column).or_default().push(model));
    let named = by_column.into_iter().map(|(column, models)| match models.len() {
        ..=4 => format!("{} (no {column})", models.join(", ")),
        n => format!("{n} models (no {column})"),
    });
    named.collect::<Vec<_>>().join("; ")
}

/// Estimate, interval, p and n as text.
fn numbers(found: &Numbers) -> [String; 4] {
    let nothing = || "–".to_owned();
    let estimate = match (found.value, found.r2.zip(found.r2_larger), found.statistic) {
        (Some(value), ..) => format!("{value:+.3}"),
        (None, Some((r2, larger)), _) => format!("{r2:.2}, {larger:.2}"),
        (None, None, Some(statistic)) => {
            let letter = if found.df_error.is_some() { "F" } else { "H" };
            format!("{letter} = {statistic:.2}")
        }
        (None, None, None) => nothing(),
    };
    let interval = found.lo.zip(found.hi).map_or_else(nothing, |(lo, hi)| format!("{lo:+.3} to {hi:+.3}"));
    [estimate, interval, found.p.map_or_else(nothing, p_value), found.n.map_or_else(nothing, |n| n.to_string())]
}
