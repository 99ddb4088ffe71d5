//! What is asked: one of two tasks about three concepts, in the order shown.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::concepts::{ConceptId, Concepts, csv_error};
use crate::error::{Error, Result};
use crate::odd_one_out::{self, OddOneOut};
use crate::seed::judgment_key;
use crate::triplets::{self, Triplet};

/// What is asked of three concepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Which of two options is more like an anchor.
    #[default]
    Anchored,
    /// Which of three is the odd one out.
    OddOneOut,
}

impl Task {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::OddOneOut => "odd-one-out",
        }
    }

    /// What the three concepts are called in tables and wordings, in the order shown.
    pub fn concepts(self) -> [&'static str; 3] {
        match self {
            Self::Anchored => ["anchor", "first", "second"],
            Self::OddOneOut => ["a", "b", "c"],
        }
    }

    /// Those that can be the answer.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Self::Anchored => &["first", "second"],
            Self::OddOneOut => &["a", "b", "c"],
        }
    }

    /// The column of the answer.
    pub fn answer(self) -> &'static str {
        match self {
            Self::Anchored => "chosen",
            Self::OddOneOut => "odd",
        }
    }

    /// The orders that options can be shown in: at a place of an order stands the rank, by id, of the option there.
    pub fn orders(self) -> &'static [&'static [usize]] {
        const THREE: [&[usize]; 6] = {
            let o = &odd_one_out::ORDERS;
            [&o[0], &o[1], &o[2], &o[3], &o[4], &o[5]]
        };
        match self {
            Self::Anchored => &[&[0, 1], &[1, 0]],
            Self::OddOneOut => &THREE,
        }
    }

    /// The task that a table with these columns holds; anchored where it could be both.
    pub fn of_columns<S: AsRef<str>>(columns: &[S]) -> Option<Self> {
        let has = |name: &&str| columns.iter().any(|c| c.as_ref() == *name);
        [Self::Anchored, Self::OddOneOut].into_iter().find(|task| task.concepts().iter().all(has))
    }

    /// Number of triplets of `n_concepts`, whatever their order.
    pub fn count(self, n_concepts: usize) -> i64 {
        match self {
            Self::Anchored => triplets::count(n_concepts),
            Self::OddOneOut => odd_one_out::count(n_concepts),
        }
    }
}

impl std::str::FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::Anchored, Self::OddOneOut];
        known.into_iter().find(|task| task.name() == text).ok_or_else(|| Error::Setting {
            field: "task".into(),
            found: text.into(),
            expected: "anchored or odd-one-out".into(),
        })
    }
}

/// One question, its concepts in the order shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Presentation {
    /// Which of two is more like the anchor.
    Anchored(Triplet),
    /// Which of three is the odd one.
    OddOneOut(OddOneOut),
}

impl Presentation {
    /// The task with its three concepts, in the order of [`Task::concepts`].
    pub fn new(task: Task, [one, two, three]: [ConceptId; 3]) -> Self {
        match task {
            Task::Anchored => Self::Anchored(Triplet { anchor: one, first: two, second: three }),
            Task::OddOneOut => Self::OddOneOut(OddOneOut { a: one, b: two, c: three }),
        }
    }

    /// What is asked.
    pub fn task(&self) -> Task {
        match self {
            Self::Anchored(_) => Task::Anchored,
            Self::OddOneOut(_) => Task::OddOneOut,
        }
    }

    /// Its concepts, in the order of [`Task::concepts`].
    pub fn concepts(&self) -> [ConceptId; 3] {
        match self {
            Self::Anchored(t) => [t.anchor, t.first, t.second],
            Self::OddOneOut(t) => t.concepts(),
        }
    }

    /// Those that can be the answer, in the order shown.
    pub fn options(&self) -> Vec<ConceptId> {
        let concepts = self.concepts();
        concepts[concepts.len() - self.task().options().len()..].to_vec()
    }

    /// The pair whose likeness speaks for each option: the option with the anchor, or the two beside the odd one.
    pub fn pairs(&self) -> Vec<[ConceptId; 2]> {
        match self {
            Self::Anchored(t) => vec![[t.anchor, t.first], [t.anchor, t.second]],
            Self::OddOneOut(t) => vec![[t.b, t.c], [t.a, t.c], [t.a, t.b]],
        }
    }

    /// Rank among all triplets of `n_concepts`; every order shares it.
    pub fn id(&self, n_concepts: usize) -> i64 {
        match self {
            Self::Anchored(t) => t.id(n_concepts),
            Self::OddOneOut(t) => t.id(n_concepts),
        }
    }

    /// Which of [`Task::orders`] is shown.
    pub fn order(&self) -> i8 {
        match self {
            Self::Anchored(t) => t.order(),
            Self::OddOneOut(t) => t.order(),
        }
    }

    /// The key of all of its randomness.
    pub fn key(&self, n_concepts: usize, repeat: u16) -> u64 {
        self.key_of(self.id(n_concepts), repeat)
    }

    /// The key under an id that others give it.
    pub(crate) fn key_of(&self, id: i64, repeat: u16) -> u64 {
        match self {
            Self::Anchored(_) => judgment_key(id, self.order(), repeat),
            // Six orders do not fit the one bit for two.
            Self::OddOneOut(_) => judgment_key(id * 6 + i64::from(self.order()), 0, repeat),
        }
    }

    /// Its concepts as words in a message.
    pub fn shown(&self, concepts: &Concepts) -> String {
        let [one, two, three] = self.concepts().map(|id| concepts.name(id));
        match self {
            Self::Anchored(_) => format!("{one}: {two} or {three}"),
            Self::OddOneOut(_) => format!("{one}, {two} or {three}"),
        }
    }

    /// The other orders that counterbalancing asks: both, or the three rotations.
    fn other_orders(self) -> Vec<Self> {
        match self {
            Self::Anchored(t) => vec![Self::Anchored(t.swapped())],
            Self::OddOneOut(t) => [t.rotated(), t.rotated().rotated()].map(Self::OddOneOut).to_vec(),
        }
    }
}

/// `n` different triplets at random: see [`triplets::random`] and [`odd_one_out::random`].
///
/// # Errors
/// [`Error::Setting`] when there are fewer than `n` triplets.
pub fn random(task: Task, n_concepts: usize, n: usize, counterbalance: bool, seed: u64) -> Result<Vec<Presentation>> {
    Ok(match task {
        Task::Anchored => all(triplets::random(n_concepts, n, counterbalance, seed)?, Presentation::Anchored),
        Task::OddOneOut => all(odd_one_out::random(n_concepts, n, counterbalance, seed)?, Presentation::OddOneOut),
    })
}

/// Every triplet: see [`triplets::exhaustive`] and [`odd_one_out::exhaustive`].
pub fn exhaustive(task: Task, n_concepts: usize, counterbalance: bool, seed: u64) -> Vec<Presentation> {
    match task {
        Task::Anchored => all(triplets::exhaustive(n_concepts, counterbalance, seed), Presentation::Anchored),
        Task::OddOneOut => all(odd_one_out::exhaustive(n_concepts, counterbalance, seed), Presentation::OddOneOut),
    }
}

/// The triplets of some ids, each in the order that [`random`] and [`exhaustive`] would show it in under that seed. Sorted.
pub fn of_ids(task: Task, ids: impl Iterator<Item = i64>, n_concepts: usize, seed: u64) -> Vec<Presentation> {
    match task {
        Task::Anchored => all(triplets::ordered(ids, n_concepts, false, seed), Presentation::Anchored),
        Task::OddOneOut => all(odd_one_out::ordered(ids, n_concepts, false, seed), Presentation::OddOneOut),
    }
}

fn all<T>(drawn: Vec<T>, asked: fn(T) -> Presentation) -> Vec<Presentation> {
    drawn.into_iter().map(asked).collect()
}

/// Presentations with the other orders of each, sorted, each once.
pub fn counterbalanced(mut presentations: Vec<Presentation>) -> Vec<Presentation> {
    let others: Vec<Presentation> = presentations.iter().flat_map(|p| p.other_orders()).collect();
    presentations.extend(others);
    presentations.sort_unstable();
    presentations.dedup();
    presentations
}

/// sha256 over the ids of the concepts in their order: what makes two sets of one task the same set.
pub fn digest(presentations: &[Presentation]) -> String {
    let mut hash = Sha256::new();
    for id in presentations.iter().flat_map(Presentation::concepts) {
        hash.update(id.to_le_bytes());
    }
    crate::hex(&hash.finalize())
}

/// Presentations by the names of their concepts, as a table has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// What is asked.
    pub task: Task,
    /// Names in the order of [`Task::concepts`], row after row.
    pub rows: Vec<[String; 3]>,
    /// Columns that were not read.
    pub ignored: Vec<String>,
}

/// Tells which task a table with these columns is about: the one that is `wanted`, or the one that has its columns.
///
/// # Errors
/// [`Error::Format`] naming the columns found and needed.
pub(crate) fn task_of(path: &Path, columns: &[String], wanted: Option<Task>) -> Result<Task> {
    let quoted = |task: Task| {
        let [one, two, three] = task.concepts();
        format!("`{one}`, `{two}` and `{three}`")
    };
    let fault = |expected: String| Error::Format {
        path: path.into(),
        found: format!("the columns {}", columns.join(", ")),
        expected: format!("columns named {expected}"),
    };
    let has = |task: Task| task.concepts().iter().all(|name| columns.iter().any(|c| c == name));
    match wanted {
        Some(task) if has(task) => Ok(task),
        Some(task) => Err(fault(quoted(task))),
        None => Task::of_columns(columns)
            .ok_or_else(|| fault(format!("{}, or {}", quoted(Task::Anchored), quoted(Task::OddOneOut)))),
    }
}

/// Reads presentations from a CSV, in the order of the file: `anchor, first, second`, or `a, b, c` for odd-one-out
/// triplets; of a `wanted` task only.
///
/// # Errors
/// [`Error::Format`] when a column is missing or the file is no CSV.
pub fn read_csv(path: &Path, wanted: Option<Task>) -> Result<Named> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(fs_err::File::open(path)?);
    let header: Vec<String> = reader.headers().map_err(|e| csv_error(path, &e))?.iter().map(str::to_owned).collect();
    let task = task_of(path, &header, wanted)?;
    let at = task.concepts().map(|name| header.iter().position(|h| h == name).expect("the task has its columns"));
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| csv_error(path, &e))?;
        rows.push(at.map(|i| record[i].to_owned()));
    }
    Ok(Named { task, rows, ignored: not_read(header, task) })
}

/// The columns that say nothing about what is asked.
pub(crate) fn not_read(mut columns: Vec<String>, task: Task) -> Vec<String> {
    columns.retain(|name| !task.concepts().contains(&name.as_str()));
    columns
}

/// Turns names into ids, sorted; the same row twice is kept once.
///
/// # Errors
/// [`Error::Cell`] with the row (header = 1) of a name that is not in `concepts`, or of a triplet that repeats a concept.
pub fn resolve(named: &Named, concepts: &Concepts, path: &Path) -> Result<Vec<Presentation>> {
    let mut presentations = Vec::with_capacity(named.rows.len());
    let columns = named.task.concepts();
    for (index, names) in named.rows.iter().enumerate() {
        let fault = |column: &str, found: String, expected: &str| Error::Cell {
            path: path.into(),
            row: index + 2,
            column: column.into(),
            found,
            expected: expected.into(),
        };
        let mut ids = [0; 3];
        for ((id, name), column) in ids.iter_mut().zip(names).zip(columns) {
            *id = concepts.id(name).ok_or_else(|| fault(column, format!("{name:?}"), "a name of the concept list"))?;
        }
        let [one, two, three] = ids;
        if one == two || one == three || two == three {
            return Err(fault(columns[2], names.join(", "), "three different concepts"));
        }
        presentations.push(Presentation::new(named.task, ids));
    }
    presentations.sort_unstable();
    presentations.dedup();
    Ok(presentations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_say_what_is_asked() {
        let of = |columns: &[&str]| Task::of_columns(columns);
        assert_eq!(of(&["who", "c", "a", "b"]), Some(Task::OddOneOut));
        assert_eq!(of(&["a", "b", "c", "second", "anchor", "first"]), Some(Task::Anchored));
        assert_eq!(of(&["a", "b", "anchor"]), None);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "c,x,a,b\nfox,1,bear,cat\nfox,2,bear,cat\n").unwrap();
        let named = read_csv(file.path(), None).unwrap();
        assert_eq!((named.task, &named.ignored[..]), (Task::OddOneOut, &["x".to_owned()][..]));
        let concepts = Concepts::from_names(["bear", "cat", "dog", "fox"]).unwrap();
        let asked = resolve(&named, &concepts, file.path()).unwrap();
        assert_eq!(asked, [Presentation::OddOneOut(OddOneOut { a: 0, b: 1, c: 3 })], "the same row is asked once");
        let error = read_csv(file.path(), Some(Task::Anchored)).unwrap_err().to_string();
        assert!(error.contains("the columns c, x, a, b, expected columns named `anchor`, `first` and `second`"));
        fs_err::write(file.path(), "x,b,c\n").unwrap();
        let error = read_csv(file.path(), None).unwrap_err().to_string();
        assert!(error.contains("`first` and `second`, or `a`, `b` and `c`"), "{error}");
    }

    #[test]
    fn every_presentation_has_a_key_of_its_own() {
        for task in [Task::Anchored, Task::OddOneOut] {
            let n_orders = task.orders().len();
            let all = exhaustive(task, 5, true, 1);
            assert_eq!(counterbalanced(exhaustive(task, 5, false, 1)), all);
            let mut keys: Vec<u64> = all.iter().flat_map(|p| [p.key(5, 0), p.key(5, 1)]).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), 2 * all.len());
            for presentation in all {
                let mut ascending = presentation.options();
                ascending.sort_unstable();
                assert!(usize::try_from(presentation.order()).unwrap() < n_orders);
                let order = task.orders()[usize::try_from(presentation.order()).unwrap()];
                let shown: Vec<ConceptId> = order.iter().map(|rank| ascending[*rank]).collect();
                assert_eq!(shown, presentation.options());
            }
        }
    }
}
