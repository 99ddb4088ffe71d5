//! `alike regress`: which ingredients go with how human-like models are, and what becomes of the claims about that.

mod model;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alike::config::{Claim, RegressFile, RegressSection};
use alike::error::Error;
use alike::ingredients::summary::summary;
use alike::ingredients::{Answer, Expect, Found, Gain, Method, Summary, Table, Variant, Verdict};
use alike::store::manifest::Fingerprint;
use alike::store::results::{self, Column};
use clap::Args;
use serde::Serialize;

use crate::cli::Common;
use crate::cli::tables::table;

#[derive(Debug, Args)]
pub(crate) struct RegressArgs {
    /// File with `[study]` and `[regress]`, such as data/studies/paper.toml
    #[arg(value_name = "STUDY")]
    study: PathBuf,
    /// Only this claim
    #[arg(long, value_name = "KEY")]
    claim: Option<String>,
    /// Only this variant; `as given` is the tables as they are
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

/// The tables as they are.
const AS_GIVEN: &str = "as given";

/// A claim, asked of one variant.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    claim: String,
    says: String,
    source: String,
    variant: String,
    expect: Expect,
    /// What the number is.
    what: String,
    #[serde(flatten)]
    answer: Option<Answer>,
    verdict: Option<Verdict>,
    /// Why there is no answer.
    error: Option<String>,
    command: String,
}

pub(crate) fn run(args: &RegressArgs, common: &Common) -> anyhow::Result<()> {
    let RegressFile { out, section } = RegressFile::read(&args.study)?;
    let answers = if args.claim.is_none() && args.variant.is_none() {
        answer(&section, &args.study, &out)?
    } else {
        Answers { model: None, claims: lines(&section, &section.table()?, args)? }
    };
    if common.json {
        println!("{}", serde_json::to_string(&answers)?);
        return Ok(());
    }
    if let Some(summary) = &answers.model {
        println!("{}\n", model::text(summary));
    }
    if !answers.claims.is_empty() {
        println!("{}\n\n{}", claims_table(&answers.claims), glossary(&answers.claims));
    }
    Ok(())
}

/// What a section asks for.
#[derive(Debug, Serialize)]
pub(crate) struct Answers {
    /// The mixed model of the tables as they are.
    model: Option<Summary>,
    claims: Vec<Line>,
}

/// All answers to a section, which are written to a folder too.
pub(crate) fn answer(section: &RegressSection, study: &Path, out: &Path) -> anyhow::Result<Answers> {
    let table = section.table()?;
    let formula = section.formula.as_deref().map(str::parse).transpose()?;
    let model = formula.map(|formula| summary(&formula, &table, Method::Reml)).transpose()?;
    let claims = lines(section, &table, &RegressArgs { study: study.to_owned(), claim: None, variant: None })?;
    fs_err::create_dir_all(out)?;
    if let Some(model) = &model {
        let path = out.join("mixed_model.json");
        crate::cli::write_json(&path, &serde_json::to_value(model)?)?;
        tracing::info!("the mixed model of {} models → {}", model.n, path.display());
    }
    let path = out.join("ingredients.parquet");
    results::write(&path, &columns(&claims), &fingerprint(section)?)?;
    tracing::info!("{} answers about {} models → {}", claims.len(), table.len(), path.display());
    Ok(Answers { model, claims })
}

/// What the answers were made from.
fn fingerprint(section: &RegressSection) -> alike::Result<Fingerprint> {
    let questions = serde_json::to_string(&(&section.response, &section.formula, &section.variants, &section.claims));
    let mut fingerprint = Fingerprint::default()
        .with("questions", questions.expect("questions are JSON"))
        .with("scores", format!("{} of {}", section.measure, section.fit));
    for (at, path) in section.scores.iter().chain(&section.tables).enumerate() {
        fingerprint = fingerprint.with(&format!("table {at}"), alike::model_folder::file_digest(path)?);
    }
    Ok(fingerprint)
}

/// Every claim of every variant that was asked for.
fn lines(section: &RegressSection, table: &Table, args: &RegressArgs) -> anyhow::Result<Vec<Line>> {
    let as_given = Variant { name: AS_GIVEN.into(), ..Variant::default() };
    let variants: Vec<&Variant> = [&as_given].into_iter().chain(&section.variants).collect();
    let variants = chosen("variant", &variants, args.variant.as_deref(), |variant| &variant.name)?;
    let claims: Vec<&Claim> = section.claims.iter().collect();
    let claims = chosen("claim", &claims, args.claim.as_deref(), |claim| &claim.key)?;
    let tables: Vec<(&Variant, Table)> =
        variants.into_iter().map(|variant| Ok((variant, variant.of(table)?))).collect::<alike::Result<_>>()?;
    let mut lines = vec![];
    for claim in claims {
        for (variant, table) in &tables {
            lines.push(line(claim, variant, table, section, &args.study)?);
        }
    }
    Ok(lines)
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
    study: &Path,
) -> alike::Result<Line> {
    // A column that is not there is a fault of the file; too few models for a test is a fact about the variant.
    let (answer, error) = match claim.ask.ask(table, &section.response, section.formula.as_deref()) {
        Ok(answer) => (Some(answer), None),
        Err(error @ Error::TooFew { .. }) => (None, Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let verdict = answer.as_ref().map(|answer| claim.expect.judge(&answer.found, claim.margin)).transpose()?;
    let command = format!("alike regress {} --claim {} --variant '{}'", study.display(), claim.key, variant.name);
    Ok(Line {
        claim: claim.key.clone(),
        says: claim.says.clone(),
        source: claim.source.clone(),
        variant: variant.name.clone(),
        expect: claim.expect,
        what: claim.ask.unit(),
        answer,
        verdict,
        error,
        command,
    })
}

/// The answers; those of a variant only where they are not the same as those of the tables as they are.
fn claims_table(lines: &[Line]) -> comfy_table::Table {
    let header = ["claim", "variant", "estimate", "95 % interval", "p", "n", "verdict"];
    let as_given = |line: &Line| lines.iter().find(|other| other.claim == line.claim && other.variant == AS_GIVEN);
    let differs = |line: &&Line| {
        let found = |line: &Line| line.answer.as_ref().map(|answer| answer.found);
        line.variant == AS_GIVEN || as_given(line).is_none_or(|other| found(other) != found(line))
    };
    let mut last = "";
    let rows = lines.iter().filter(differs).map(|line| {
        let claim = if line.claim == last { String::new() } else { line.claim.clone() };
        last = &line.claim;
        let [estimate, interval, p, n] = numbers(line);
        let verdict = line.verdict.map(|verdict| verdict.text().to_owned()).or(line.error.clone()).unwrap_or_default();
        vec![claim, line.variant.clone(), estimate, interval, p, n, verdict]
    });
    table(&header, rows, 2)
}

/// What the claims of the table are, and what their numbers.
fn glossary(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines.iter().filter(|line| line.variant == lines[0].variant) {
        let source = if line.source.is_empty() { String::new() } else { format!(" ({})", line.source) };
        text += &format!("{}: {}{source}. {}", line.claim, line.says, line.what);
        if let Some(answer) = line.answer.as_ref().filter(|answer| !answer.left_out.is_empty()) {
            text += &format!("; without {}", left_out(&answer.left_out));
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

fn numbers(line: &Line) -> [String; 4] {
    match line.answer.as_ref().map(|answer| answer.found) {
        None => [(); 4].map(|()| "–".to_owned()),
        Some(Found::Effect(e)) => {
            [format!("{:+.3}", e.value), format!("{:+.3} to {:+.3}", e.lo, e.hi), p_value(e.p), e.n.to_string()]
        }
        Some(Found::Difference(test)) => {
            let letter = if test.df_error.is_some() { "F" } else { "H" };
            [format!("{letter} = {:.2}", test.statistic), "–".to_owned(), p_value(test.p), test.n.to_string()]
        }
        Some(Found::Gain(Gain { r2, r2_larger, test })) => {
            [format!("{r2:.2}, {r2_larger:.2}"), "–".to_owned(), p_value(test.p), test.n.to_string()]
        }
    }
}

pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.0e}") } else { format!("{p:.3}") }
}

fn columns(lines: &[Line]) -> Vec<(&'static str, Column)> {
    let text = |of: &dyn Fn(&Line) -> String| Column::Text(lines.iter().map(of).collect());
    let number = |of: &dyn Fn(Found) -> Option<f64>| {
        Column::Numbers(lines.iter().map(|line| line.answer.as_ref().and_then(|answer| of(answer.found))).collect())
    };
    let effect = |of: fn(&alike::ingredients::Estimate) -> Option<f64>| {
        number(&|found| match found {
            Found::Effect(estimate) => of(&estimate),
            Found::Difference(_) | Found::Gain(_) => None,
        })
    };
    vec![
        ("claim", text(&|line| line.claim.clone())),
        ("says", text(&|line| line.says.clone())),
        ("source", text(&|line| line.source.clone())),
        ("variant", text(&|line| line.variant.clone())),
        ("what", text(&|line| line.what.clone())),
        ("value", effect(|e| Some(e.value))),
        ("lo", effect(|e| Some(e.lo))),
        ("hi", effect(|e| Some(e.hi))),
        ("se", effect(|e| e.se)),
        (
            "statistic",
            number(&|found| match found {
                Found::Effect(e) => Some(e.statistic),
                Found::Difference(test) | Found::Gain(Gain { test, .. }) => Some(test.statistic),
            }),
        ),
        (
            "df",
            number(&|found| match found {
                Found::Effect(e) => e.df,
                Found::Difference(test) | Found::Gain(Gain { test, .. }) => Some(test.df),
            }),
        ),
        (
            "p",
            number(&|found| match found {
                Found::Effect(e) => Some(e.p),
                Found::Difference(test) | Found::Gain(Gain { test, .. }) => Some(test.p),
            }),
        ),
        (
            "n",
            number(&|found| match found {
                Found::Effect(e) => Some(e.n as f64),
                Found::Difference(test) | Found::Gain(Gain { test, .. }) => Some(test.n as f64),
            }),
        ),
        (
            "left_out",
            text(&|line| {
                let rows = line.answer.as_ref().map_or(&[][..], |answer| &answer.left_out);
                rows.iter().map(|(model, column)| format!("{model}: {column}")).collect::<Vec<_>>().join("; ")
            }),
        ),
        ("r2", number(&|found| if let Found::Gain(gain) = found { Some(gain.r2) } else { None })),
        ("r2_larger", number(&|found| if let Found::Gain(gain) = found { Some(gain.r2_larger) } else { None })),
        ("verdict", text(&|line| line.verdict.map(Verdict::text).unwrap_or_default().to_owned())),
        ("error", text(&|line| line.error.clone().unwrap_or_default())),
        ("command", text(&|line| line.command.clone())),
    ]
}
