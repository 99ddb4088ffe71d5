//! Judgments as a table: a column is made from all rows at once, and the columns beside one another.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int8Array, Int16Array, Int64Array, PrimitiveArray, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Field, Float32Type, Int16Type, Int32Type, Schema};
use rayon::prelude::*;

use super::columns;
use super::pieces::{Held, KEY_PARTS};
use crate::concepts::Concepts;
use crate::error::Result;
use crate::judgments::{Answer, Judgment, ModelScores, OptionScores};
use crate::presentations::Task;
use crate::store::manifest::Fingerprint;
use crate::store::table::{self, Layout, TableWriter};

/// Writes one part. `judgments` are of one task, in the order of their concepts and repeats; `held` is the part's number.
///
/// # Errors
/// [`crate::Error::Io`]; nothing half-written is left.
pub fn write_part(
    path: &Path,
    task: Task,
    judgments: &[Judgment],
    concepts: &Concepts,
    label: &str,
    fingerprint: &Fingerprint,
    held: &Held,
) -> Result<()> {
    let fields: Vec<Field> = columns(task).into_iter().map(|c| Field::new(c.name, c.data_type, c.nullable)).collect();
    let values = makers(task, concepts, label).par_iter().map(|make| make(judgments)).collect();
    let batch = table::batch(Schema::new(fields), values);
    let mut metadata = fingerprint.metadata();
    metadata.insert(KEY_PARTS.to_owned(), held.to_string());
    let mut writer = TableWriter::create(path, &batch.schema(), &metadata, layout(&task.concepts()))?;
    writer.write(&batch)?;
    writer.finish()
}

/// How a file of judgments with these concepts' columns is laid down.
pub(super) fn layout<'a>(concepts: &'a [&'a str]) -> Layout<'a> {
    // After the neutral prompt, every concept has one log-probability.
    Layout { sorted_by: concepts, repeating: &["prior_first", "prior_second", "prior_a", "prior_b", "prior_c"] }
}

/// Makes a column.
type Maker<'a> = Box<dyn Fn(&'a [Judgment]) -> ArrayRef + Sync + 'a>;

/// The makers of all columns, in the order of [`columns`].
fn makers<'a>(task: Task, concepts: &'a Concepts, label: &'a str) -> Vec<Maker<'a>> {
    let n = concepts.len();
    let options = 0..task.options().len();
    let anchored = task == Task::Anchored;
    let id = |j: &Judgment, place: usize| j.presentation.concepts()[place];

    let mut makers: Vec<Maker<'a>> = Vec::new();
    makers.push(Box::new(move |all| Arc::new(Int64Array::from_iter_values(all.iter().map(|j| j.presentation.id(n))))));
    makers.extend((0..3).map(|place| text(move |j| Some(concepts.name(id(j, place))))));
    makers.extend((0..3).map(|place| {
        numbers::<Int32Type>(move |j| Some(i32::try_from(id(j, place)).expect("fewer than 2^31 concepts")))
    }));
    makers.push(Box::new(|all| Arc::new(Int8Array::from_iter_values(all.iter().map(|j| j.presentation.order())))));
    makers.push(Box::new(|all| Arc::new(Int16Array::from_iter_values(all.iter().map(|j| j.repeat)))));
    let first_option = 3 - options.len();
    makers.push(text(move |j| Some(concepts.name(id(j, first_option + j.chosen?)))));
    if anchored {
        makers.push(truths(|j| j.chosen.map(|option| option == 0)));
    }
    makers.push(text(|j| Some(j.decision)));
    makers.push(text(|j| Some(j.score_kind)));
    makers.extend(options.clone().map(|option| floats(move |j| Some(j.scores.as_ref()?[option]))));
    let of_p = if anchored { 0..1 } else { options.clone() };
    makers.extend(of_p.map(|option| floats(move |j| Some(j.p.as_ref()?[option]))));
    makers.extend(options.clone().map(|option| floats(move |j| Some(scores(j)?.log_prob[option]))));
    makers.push(truths(|j| Some(scores(j).is_some_and(|o| o.closed))));
    makers.extend(options.clone().map(|option| floats(move |j| Some(scores(j)?.prior[option]))));
    if anchored {
        makers.push(floats(|j| scores(j)?.p_first));
        makers.push(floats(|j| scores(j)?.p_first_greedy));
    }
    makers.push(floats(|j| Some(scores(j)?.choice_mass)));
    makers.push(text(|j| Some(&j.model.as_ref()?.top_token)));
    makers.push(of_model(|m| m.top_token_id));
    makers.push(floats(|j| Some(j.model.as_ref()?.top_log_prob)));
    makers.extend(options.clone().map(|option| shorts(move |j| Some(scores(j)?.n_tokens[option]))));
    makers.extend(options.clone().map(|option| shorts(move |j| Some(j.model.as_ref()?.n_chars[option]))));
    makers.extend(options.map(|option| shorts(move |j| Some(j.model.as_ref()?.n_bytes[option]))));
    makers.push(of_model(|m| m.n_prompt_tokens));
    makers.push(text(|j| Some(&answer(j)?.response)));
    makers.push(text(|j| Some(answer(j)?.parse)));
    makers.push(text(move |_| Some(label)));
    makers
}

fn scores(j: &Judgment) -> Option<&OptionScores> {
    j.model.as_ref()?.options.as_ref()
}

fn answer(j: &Judgment) -> Option<&Answer> {
    j.model.as_ref()?.answer.as_ref()
}

fn text<'a>(of: impl Fn(&'a Judgment) -> Option<&'a str> + Sync + 'a) -> Maker<'a> {
    Box::new(move |all| Arc::new(all.iter().map(&of).collect::<StringArray>()))
}

fn numbers<'a, T: ArrowPrimitiveType>(of: impl Fn(&Judgment) -> Option<T::Native> + Sync + 'a) -> Maker<'a>
where
    PrimitiveArray<T>: FromIterator<Option<T::Native>>,
{
    Box::new(move |all| Arc::new(all.iter().map(&of).collect::<PrimitiveArray<T>>()))
}

fn floats<'a>(of: impl Fn(&Judgment) -> Option<f32> + Sync + 'a) -> Maker<'a> {
    numbers::<Float32Type>(of)
}

fn shorts<'a>(of: impl Fn(&Judgment) -> Option<i16> + Sync + 'a) -> Maker<'a> {
    numbers::<Int16Type>(of)
}

fn of_model<'a>(of: impl Fn(&ModelScores) -> i32 + Sync + 'a) -> Maker<'a> {
    numbers::<Int32Type>(move |j| j.model.as_ref().map(&of))
}

fn truths<'a>(of: impl Fn(&Judgment) -> Option<bool> + Sync + 'a) -> Maker<'a> {
    Box::new(move |all| Arc::new(all.iter().map(&of).collect::<BooleanArray>()))
}
