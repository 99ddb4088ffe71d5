//! `alike check --suite`: the lists of the paper's models, and what of them fits a machine.

use std::path::Path;

use alike::error::Error;
use alike::suite::{Precision, read};

use crate::cli::Common;
use crate::cli::tables::table;

pub(crate) fn run(folder: &Path, memory_gb: f64, common: &Common) -> anyhow::Result<()> {
    let members = read(folder).map_err(|faults| {
        // Of the hints, only that to the nearest known key is meant for a file that somebody writes by hand.
        let hint = |fault: &Error| match fault {
            Error::UnknownKey { .. } => fault.hint().map(|hint| format!(" ({hint})")).unwrap_or_default(),
            _ => String::new(),
        };
        let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}{}", hint(fault))).collect();
        let n = if faults.len() == 1 { "a fault".to_owned() } else { format!("{} faults", faults.len()) };
        anyhow::anyhow!("{n} in {}:{}", folder.display(), lines.concat())
    })?;
    let best = members.iter().map(|m| Precision::best(&m.ingredients, &m.faults, memory_gb)).collect::<Vec<_>>();
    let n_fit = best.iter().flatten().count();
    if common.json {
        let models: Vec<serde_json::Value> = members
            .iter()
            .zip(&best)
            .map(|(m, best)| serde_json::json!({"label": m.entry.label, "hub": m.entry.hub, "precision": best}))
            .collect();
        println!("{}", serde_json::json!({"memory_gb": memory_gb, "fit": n_fit, "models": models}));
        return Ok(());
    }
    let fits = format!("fits {memory_gb} GB");
    let header = ["model", "hub", "type", "stage", "style", &fits, "notes", "B params", "GB"];
    let rows = members.iter().zip(&best).map(|(member, best)| {
        let entry = &member.entry;
        let notes = [("gated", entry.gated), ("remote code", entry.remote_code)];
        let notes = notes.into_iter().filter(|(_, there)| *there).map(|(name, _)| name);
        let notes: Vec<&str> = notes.chain(entry.faults.iter().map(String::as_str)).collect();
        vec![
            entry.label.clone(),
            entry.hub.clone(),
            entry.model_type.clone(),
            entry.stage.name().into(),
            entry.style.to_string(),
            best.map_or("–", Precision::name).into(),
            notes.join(", "),
            format!("{:.1}", member.ingredients.params_b),
            best.map_or("–".into(), |best| format!("{:.1}", best.needed_gb(&member.ingredients))),
        ]
    });
    println!("{}", table(&header, rows, 7));
    println!("{} models, of which {n_fit} fit {memory_gb} GB", members.len());
    Ok(())
}
