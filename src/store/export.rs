//! Answers as other programs take them, a line each: triplets of THINGS and of cblearn, samples of lm-evaluation-harness.

mod samples;

use std::io::Write;

use crate::concepts::Concepts;
use crate::embedding::Answer;
use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::store::choices::AnswerFiles;

pub use samples::write as write_samples;

/// How many lines were written, and how many rows had nothing to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Lines.
    pub n: usize,
    /// Rows without an answer.
    pub n_unanswered: usize,
}

/// What stands for a concept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Its place in the list as it was given, from 0.
    Numbers,
    /// Its name.
    Names,
}

/// Odd-one-out answers as THINGS has them: three numbers a line, the odd one last. The numbers count the entries of the list of concepts as it was
/// given, from 0; [`crate::store::choices::read`] takes them back.
///
/// # Errors
/// [`Error::Setting`] for anchored answers, and those of reading and writing
pub fn write_things(answers: &AnswerFiles, out: &mut impl Write) -> Result<Exported> {
    expect(answers, Task::OddOneOut, "things")?;
    let places = places(answers.concepts());
    each(answers, |answer| {
        if let Answer::OddOneOut(answer) = answer {
            let [a, b, c] = answer.shown.concepts().map(|id| places[id as usize]);
            let (one, other, odd) = [(b, c, a), (a, c, b), (a, b, c)][answer.odd];
            writeln!(out, "{one} {other} {odd}")?;
        }
        Ok(())
    })
}

/// Anchored answers as cblearn's triplets in list order: a CSV of `anchor,near,far`, near the option that was chosen.
///
/// # Errors
/// [`Error::Setting`] for odd-one-out answers, and those of reading and writing
pub fn write_cblearn(answers: &AnswerFiles, naming: Naming, out: &mut impl Write) -> Result<Exported> {
    expect(answers, Task::Anchored, "cblearn")?;
    let concepts = answers.concepts();
    let places = places(concepts);
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["anchor", "near", "far"]).map_err(std::io::Error::from)?;
    let exported = each(answers, |answer| {
        if let Answer::Anchored(c) = answer {
            let (near, far) = if c.p_first > 0.5 { (c.first, c.second) } else { (c.second, c.first) };
            let record = [c.anchor, near, far].map(|id| match naming {
                Naming::Numbers => places[id as usize].to_string(),
                Naming::Names => concepts.name(id).to_owned(),
            });
            csv.write_record(record).map_err(std::io::Error::from)?;
        }
        Ok(())
    })?;
    csv.flush()?;
    Ok(exported)
}

fn each(answers: &AnswerFiles, mut write: impl FnMut(Answer) -> Result<()>) -> Result<Exported> {
    let mut n = 0;
    let n_unanswered = answers.each(|answer| {
        n += 1;
        write(answer)
    })?;
    Ok(Exported { n, n_unanswered })
}

/// The place of each concept in the list as it was given.
fn places(concepts: &Concepts) -> Vec<usize> {
    let mut places = vec![0; concepts.len()];
    for (place, id) in concepts.as_listed().iter().enumerate() {
        places[*id as usize] = place;
    }
    places
}

fn expect(answers: &AnswerFiles, task: Task, format: &str) -> Result<()> {
    if answers.task() == task {
        return Ok(());
    }
    Err(Error::Setting {
        field: "format".into(),
        found: format!("{format} for {} answers", answers.task().name()),
        expected: format!(
            "{format} is for {} answers; things is for odd-one-out ones, cblearn for anchored ones",
            task.name()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::Answered;
    use crate::store::choices;

    fn list() -> Concepts {
        Concepts::from_names(["fox", "cat", "bear, brown", "dog"]).unwrap() // not in the order of ids
    }

    fn exported(
        text: &str,
        write: impl Fn(&AnswerFiles, &mut Vec<u8>) -> Result<Exported>,
    ) -> (Result<Exported>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.csv");
        fs_err::write(&path, text).unwrap();
        let mut out = Vec::new();
        let done = write(&AnswerFiles::open(&path, Some(list()), None).unwrap(), &mut out);
        (done, String::from_utf8(out).unwrap())
    }

    #[test]
    fn things_text_comes_back_as_it_went() {
        let answers = "a,b,c,odd\nfox,cat,dog,cat\n\"bear, brown\",dog,fox,\ndog,fox,cat,dog\ndog,fox,cat,cat\n";
        let (done, text) = exported(answers, write_things);
        assert_eq!(done.unwrap(), Exported { n: 3, n_unanswered: 1 });
        assert_eq!(text, "0 3 1\n0 1 3\n3 0 1\n");
        let file = tempfile::Builder::new().suffix(".txt").tempfile().unwrap();
        fs_err::write(file.path(), &text).unwrap();
        let back = choices::read(file.path(), Some(list()), None).unwrap();
        let Answered::OddOneOut(back) = back.answered else { panic!("odd-one-out answers") };
        let named = back.iter().map(|a| list().name(a.shown.concepts()[a.odd]).to_owned());
        assert_eq!(named.collect::<Vec<_>>(), ["cat", "dog", "cat"]);
        let again = |path: &std::path::Path| {
            let mut out = Vec::new();
            write_things(&AnswerFiles::open(path, Some(list()), None).unwrap(), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(again(file.path()), text);
    }

    #[test]
    fn cblearn_has_the_nearer_option_second() {
        let answers =
            "anchor,first,second,chosen\nfox,cat,dog,dog\ndog,\"bear, brown\",cat,\"bear, brown\"\ncat,dog,fox,\n";
        let (done, text) = exported(answers, |answers, out| write_cblearn(answers, Naming::Numbers, out));
        assert_eq!(done.unwrap(), Exported { n: 2, n_unanswered: 1 });
        assert_eq!(text, "anchor,near,far\n0,3,1\n3,2,1\n");
        let (_, text) = exported(answers, |answers, out| write_cblearn(answers, Naming::Names, out));
        assert_eq!(text, "anchor,near,far\nfox,dog,cat\ndog,\"bear, brown\",cat\n");
    }

    #[test]
    fn each_format_is_for_one_task() {
        let (done, _) = exported("anchor,first,second,chosen\nfox,cat,dog,dog\n", write_things);
        assert!(done.unwrap_err().to_string().contains("things is for odd-one-out answers"));
        let (done, _) =
            exported("a,b,c,odd\nfox,cat,dog,dog\n", |answers, out| write_cblearn(answers, Naming::Names, out));
        assert!(done.unwrap_err().to_string().contains("cblearn is for anchored answers"));
    }
}
