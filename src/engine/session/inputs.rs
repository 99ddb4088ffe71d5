//! What a pass gives the graph, and what it asks of it.

use std::borrow::Cow;

use ndarray::{Array1, Array2, Array3, arr0, s};
use ort::session::SessionInputValue;

use super::{Cache, tensor};
use crate::engine::signature::{MaskInput, PastInput, Scores, Signature};
use crate::error::Result;
use crate::prompts::pass::Pass;

/// An input by its name.
pub(super) type Input<'a> = (Cow<'a, str>, SessionInputValue<'a>);

/// All inputs of a pass, with so many keys in front of each row that nothing sees.
pub(super) fn inputs<'a>(
    signature: &'a Signature,
    cache: &'a Cache,
    pass: &Pass,
    unseen: usize,
) -> Result<Vec<Input<'a>>> {
    let mut inputs = tokens(signature, pass)?;
    inputs.extend(mask(signature, pass, unseen)?);
    if let Some(name) = signature.logits_to_keep {
        inputs.push((name.into(), tensor(arr0(0_i64))?.into()));
    }
    inputs.extend(past(signature, cache, pass, unseen)?);
    if signature.scores == Scores::LogProbs {
        inputs.extend(scored(pass)?);
    }
    Ok(inputs)
}

/// Names of the outputs that a pass asks for, but for keys and values.
pub(super) fn results(signature: &Signature, pass: &Pass) -> Vec<&'static str> {
    match signature.scores {
        Scores::LogProbs if pass.logits => vec!["log_probs", "top_ids", "top_log_probs", "logits"],
        Scores::LogProbs => vec!["log_probs", "top_ids", "top_log_probs"],
        Scores::Logits => vec!["logits"],
    }
}

/// Tokens and their places. An encoder reads the first of each row, the decoder the others.
fn tokens<'a>(signature: &Signature, pass: &Pass) -> Result<Vec<Input<'a>>> {
    let by_token = |values: Vec<i64>| {
        Array2::from_shape_vec((pass.n_rows(), pass.new_len), values).expect("a pass holds rows of equal length")
    };
    let ids = by_token(pass.tokens.iter().map(|id| i64::from(*id)).collect());
    let (of_encoder, of_decoder) = (s![.., ..pass.source_len], s![.., pass.source_len..]);
    let mut inputs: Vec<Input<'_>> = Vec::new();
    if signature.encoder {
        inputs.push(("input_ids".into(), tensor(ids.slice(of_encoder).to_owned())?.into()));
        inputs.push(("decoder_input_ids".into(), tensor(ids.slice(of_decoder).to_owned())?.into()));
    } else {
        inputs.push(("input_ids".into(), tensor(ids)?.into()));
    }
    if signature.position_ids {
        let positions = by_token(pass.positions().into_iter().map(int).collect()) - int(pass.source_len);
        inputs.push(("position_ids".into(), tensor(positions.slice(of_decoder).to_owned())?.into()));
    }
    Ok(inputs)
}

/// Which keys each token sees.
fn mask<'a>(signature: &Signature, pass: &Pass, unseen: usize) -> Result<Option<Input<'a>>> {
    let (n_rows, total_len) = (pass.n_rows(), pass.past_len + unseen + pass.new_len);
    let value = match signature.mask {
        MaskInput::None => return Ok(None),
        MaskInput::Padding => tensor(Array2::<i64>::ones((n_rows, total_len)))?.into(),
        MaskInput::Seen => {
            let mut mask = Array3::from_elem((n_rows, pass.new_len, total_len), false);
            let seen = Array3::from_shape_vec((n_rows, pass.new_len, total_len - unseen), pass.mask());
            let seen = seen.expect("a pass holds rows of equal length");
            mask.slice_mut(s![.., .., unseen..]).assign(&seen);
            tensor(mask.slice(s![.., pass.source_len.., pass.source_len..]).to_owned())?.into()
        }
    };
    Ok(Some(("attention_mask".into(), value)))
}

/// Keys and values, or states, of what each row follows: the pool with the slots of it, or gathered.
fn past<'a>(signature: &'a Signature, cache: &'a Cache, pass: &Pass, unseen: usize) -> Result<Vec<Input<'a>>> {
    let (Some(pool), Some(past)) = (&signature.pool, signature.past) else { return Ok(Vec::new()) };
    let slot = |index: usize| int(pass.past[index]);
    let mut inputs: Vec<Input<'_>> = Vec::new();
    match past {
        PastInput::Rows => {}
        PastInput::States => {
            inputs.push(("past_states".into(), tensor(Array1::from_shape_fn(pass.n_rows(), slot))?.into()));
        }
        PastInput::Slots => {
            let slot =
                |(row, at): (usize, usize)| at.checked_sub(unseen).map_or(0, |at| slot(row * pass.past_len + at));
            let slots = Array2::from_shape_fn((pass.n_rows(), pass.past_len + unseen), slot);
            inputs.push(("past_tokens".into(), tensor(slots)?.into()));
        }
    }
    let values: Vec<SessionInputValue<'_>> = match (cache, past, signature.cache) {
        (Cache::None, ..) => Vec::new(),
        (Cache::Host(cache), PastInput::Rows, Some(shape)) => {
            cache.gathered(shape, pass)?.into_iter().map(SessionInputValue::from).collect()
        }
        (Cache::Host(cache), ..) => cache.inputs()?,
        (Cache::Device(pool), ..) => pool.tensors().iter().map(Into::into).collect(),
    };
    inputs.extend(pool.past.iter().zip(values).map(|(name, value)| (name.as_str().into(), value)));
    Ok(inputs)
}

/// Positions that pass through the head, and tokens whose log-probabilities are read there.
fn scored<'a>(pass: &Pass) -> Result<[Input<'a>; 2]> {
    // The head's product has a row for each scored position: never a single one, which another kernel would round otherwise, and
    // never none, of which runtimes think differently.
    let of_decoder = |&(row, at): &(usize, usize)| (row, at - pass.source_len);
    let scored = at_least(2, pass.scored.iter().map(of_decoder), (0, 0));
    let wanted = at_least(1, pass.wanted.iter().map(|w| (w.scored, w.token as usize)), (0, 0));
    Ok([("scored".into(), tensor(pairs(&scored))?.into()), ("wanted".into(), tensor(pairs(&wanted))?.into())])
}

fn at_least(n: usize, values: impl Iterator<Item = (usize, usize)>, filler: (usize, usize)) -> Vec<(usize, usize)> {
    let mut values: Vec<_> = values.collect();
    values.resize(values.len().max(n), filler);
    values
}

fn pairs(values: &[(usize, usize)]) -> Array2<i64> {
    Array2::from_shape_fn((values.len(), 2), |(row, column)| {
        int(if column == 0 { values[row].0 } else { values[row].1 })
    })
}

fn int(value: usize) -> i64 {
    i64::try_from(value).expect("indices and token ids are small")
}
