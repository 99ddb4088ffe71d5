//! What `alike regress` left in a folder.

use serde_json::Value;

use crate::config::RegressFile;
use crate::error::{Error, Result};
use crate::report::data::{Effect, Ingredients};
use crate::store;
use crate::store::folder::StudyFolder;

/// The answers to a file's questions, those there are.
pub(super) fn ingredients(folder: &StudyFolder, file: RegressFile) -> Result<Ingredients> {
    let models = store::models::read_parquet(&folder.models())?;
    let (answers, correlations) = (folder.ingredients(), folder.benchmarks());
    let answers = if file.regress.claims.is_empty() { vec![] } else { store::ingredients::read(&answers)? };
    let correlations = match file.regress.benchmarks {
        Some(_) => store::ingredients::read_correlations(&correlations)?,
        None => vec![],
    };
    let model: Value = match file.regress.formula {
        Some(_) => {
            let path = folder.mixed_model();
            serde_json::from_slice(&fs_err::read(&path)?).map_err(|e| Error::Format {
                path,
                found: e.to_string(),
                expected: "the mixed model that alike wrote".into(),
            })?
        }
        None => Value::Null,
    };
    let effects = model["coefficients"].as_array().into_iter().flatten().map(effect).collect();
    let n_fitted = model["n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    Ok(Ingredients { asked: file.regress, models, effects, n_fitted, answers, correlations })
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
