//! Odd-one-out answers as THINGS has them: three numbers a line, the odd one last.

use std::io::BufRead;
use std::path::Path;

use crate::concepts::{ConceptId, Concepts};
use crate::embedding::OddOneOutAnswer;
use crate::error::{Error, Result};
use crate::odd_one_out::OddOneOut;

/// The list that the numbers count, which has to be given.
///
/// # Errors
/// [`Error::Setting`] without a list of concepts or with a soft column
pub(super) fn concepts(concepts: Option<Concepts>, soft_column: Option<&str>) -> Result<Concepts> {
    let setting = |field: &str, found: String, expected: &str| {
        Err(Error::Setting { field: field.into(), found, expected: expected.into() })
    };
    let Some(concepts) = concepts else {
        let expected = "the list whose entries the numbers of the triplet file count (--concepts FILE)";
        return setting("concepts", "not given".into(), expected);
    };
    if let Some(name) = soft_column {
        return setting("soft_column", format!("{name:?} of a triplet file"), "absent: such files hold choices alone");
    }
    Ok(concepts)
}

/// Hands over lines of `i j k`, separated by white space, where k was named the odd one. The numbers count the entries of
/// `concepts` as they were listed, from 0. Empty lines are passed over.
///
/// # Errors
/// [`Error::Format`] naming the line for anything but three different numbers of the list, and those of `take`
pub(super) fn each(
    path: &Path,
    concepts: &Concepts,
    mut take: impl FnMut(OddOneOutAnswer) -> Result<()>,
) -> Result<()> {
    let listed = concepts.as_listed();
    let mut reader = std::io::BufReader::new(fs_err::File::open(path)?);
    let (mut text, mut line) = (String::new(), 0_usize);
    while reader.read_line(&mut text)? > 0 {
        line += 1;
        if !text.trim().is_empty() {
            let [a, b, odd] = ids(&text, listed).ok_or_else(|| Error::Format {
                path: path.into(),
                found: format!("{:?} on line {line}", text.trim_end()),
                expected: format!("three different numbers of 0 to {}, the odd one last", listed.len() - 1),
            })?;
            let shown = OddOneOut { a, b, c: odd };
            take(OddOneOutAnswer { triplet: shown.id(concepts.len()), shown, odd: 2, weight: 1.0 })?;
        }
        text.clear();
    }
    Ok(())
}

/// The concepts that a line counts.
fn ids(line: &str, listed: &[ConceptId]) -> Option<[ConceptId; 3]> {
    let mut numbers = line.split_whitespace();
    let mut next = || listed.get(numbers.next()?.parse::<usize>().ok()?).copied();
    let [a, b, c] = [next()?, next()?, next()?];
    (numbers.next().is_none() && a != b && a != c && b != c).then_some([a, b, c])
}

#[cfg(test)]
mod tests {
    use super::super::Choices;
    use super::*;
    use crate::embedding::Answered;

    fn read_text(text: &str) -> Result<Choices> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trainset.txt");
        fs_err::write(&path, text).unwrap();
        let list = Concepts::from_names(["fox", "cat", "bear", "dog"]).unwrap(); // not in the order of ids
        super::super::read(&path, Some(list), None)
    }

    #[test]
    fn numbers_count_the_list_as_it_was_given_and_the_last_is_odd() {
        let choices = read_text("0 1 2\n\n3\t2  0\r\n").unwrap();
        let Answered::OddOneOut(answers) = &choices.answered else { panic!("{choices:?}") };
        let names = |a: &OddOneOutAnswer| a.shown.concepts().map(|id| choices.concepts.name(id).to_owned());
        assert_eq!(names(&answers[0]), ["fox", "cat", "bear"]);
        assert_eq!(names(&answers[1]), ["dog", "bear", "fox"]);
        assert!(answers.iter().all(|a| a.odd == 2 && a.weight == 1.0));
    }

    #[test]
    fn wrong_lines_are_named() {
        let error = |text: &str| read_text(text).unwrap_err().to_string();
        for wrong in ["0 1", "0 1 2 3", "0 1 4", "0 1 1", "0 1 -2", "0,1,2", "a b c"] {
            let error = error(&format!("0 1 2\n{wrong}\n"));
            assert!(error.contains("on line 2") && error.contains("three different numbers of 0 to 3"), "{error}");
        }
        let file = tempfile::Builder::new().suffix(".txt").tempfile().unwrap();
        let error = super::super::read(file.path(), None, None).unwrap_err().to_string();
        assert!(error.contains("`concepts` is not given"), "{error}");
    }
}
