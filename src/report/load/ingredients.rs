//! What `alike regress` left in a folder.

use serde_json::Value;

use super::stored;
use crate::config::RegressFile;
use crate::error::{Error, Result};
use crate::report::data::{Effect, Ingredients};
use crate::store;
use crate::store::folder::StudyFolder;

/// The answers to a file's questions, those there are.
pub(super) fn ingredients(folder: &StudyFolder, file: RegressFile) -> Result<Ingredients> {
    let models = stored("the table of models", folder.models(), store::models::read_parquet)?;
    let answers = match file.regress.claims.as_slice() {
        [] => vec![],
        _ => stored("the answers to claims", folder.ingredients(), store::ingredients::read)?,
    };
    let correlations = match file.regress.benchmarks {
        Some(_) => stored("the correlations", folder.benchmarks(), store::ingredients::read_correlations)?,
        None => vec![],
    };
    let unreadable = |e: serde_json::Error| Error::Format {
        path: folder.mixed_model(),
        found: e.to_string(),
        expected: "the mixed model that alike wrote".into(),
    };
    let model: Value = match file.regress.formula {
        Some(_) => {
            let bytes = stored("the mixed model", folder.mixed_model(), |path| Ok(fs_err::read(path)?))?;
            serde_json::from_slice(&bytes).map_err(unreadable)?
        }
        None => Value::Null,
    };
    let effects = model["coefficients"].as_array().into_iter().flatten().map(effect).collect();
    let n_fitted = model["n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    let not_fitted = match &model["left_out"] {
        Value::Null => vec![], // no model, or one of the first alike, which told no names
        names => serde_json::from_value(names.clone()).map_err(unreadable)?,
    };
    Ok(Ingredients { asked: file.regress, models, effects, n_fitted, not_fitted, answers, correlations })
}

fn effect(coefficient: &Value) -> Effect {
    let number = |name: &str| coefficient[name].as_f64();
    Effect {
        term: coefficient["term"].as_str().unwrap_or_default().to_owned(),
        value: number("value").unwrap_or(f64::NAN),
        interval: number("lo").zip(number("hi")),
        p: number("p"),
        p_holm: number("p_holm"),
    }
}
