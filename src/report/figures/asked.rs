//! What figures of ingredients take from what was asked: whom to tell apart, and what came out.

use super::dots::Mark;
use crate::config::Claim;
use crate::ingredients::Question;
use crate::report::answers;
use crate::report::data::Ingredients;
use crate::report::figure::LegendItem;
use crate::report::names::column_title;
use crate::report::numbers::count;
use crate::report::svg::{escape, px, shorten};
use crate::store::ingredients::AnswerRow;

/// The models of one level, told apart from the others by a filled mark: those of the first comparison of groups.
pub(super) struct Told<'a> {
    column: &'a str,
    level: &'a str,
    /// The other level, where there is only one.
    other: Option<&'a str>,
    cells: Vec<Option<bool>>,
}

/// Whom marks tell apart; nobody where no claim compares groups.
pub(super) fn told(data: &Ingredients) -> Option<Told<'_>> {
    let groups = data.asked.claims.iter().find_map(|claim| match &claim.ask {
        Question::Groups { column, level } => Some((column, level)),
        _ => None,
    });
    let (column, level) = groups?;
    let cells = data.models.levels(column).ok()?;
    let mut others = cells.iter().flatten().map(String::as_str).filter(|cell| cell != level);
    let other = others.next().filter(|first| others.all(|other| other == *first));
    let cells = cells.iter().map(|cell| cell.as_ref().map(|cell| cell == level)).collect();
    Some(Told { column, level, other, cells })
}

/// A model's mark.
pub(super) fn mark(told: Option<&Told<'_>>, model: usize) -> Mark {
    match told.map(|told| told.cells[model]) {
        None | Some(Some(true)) => Mark::Filled,
        Some(Some(false)) => Mark::Hollow,
        Some(None) => Mark::Grey,
    }
}

/// What the marks mean.
pub(super) fn legend(told: Option<&Told<'_>>) -> Vec<LegendItem> {
    let Some(told) = told else { return vec![] };
    let column = column_title(told.column);
    let marks = [
        (Mark::Filled, told.level, true),
        (Mark::Hollow, told.other.unwrap_or("another"), told.cells.contains(&Some(false))),
        (Mark::Grey, "not known", told.cells.contains(&None)),
    ];
    let item = |(mark, level, _): (Mark, &str, bool)| LegendItem {
        mark: format!("<circle class=\"{}\" r=\"4.5\"/>", mark.class()),
        text: format!("{column}: {level}"),
    };
    marks.into_iter().filter(|(.., there)| *there).map(item).collect()
}

/// A model's dot, with what pointing at it shows.
pub(super) fn dot(x: f64, y: f64, mark: Mark, title: &str) -> String {
    let (class, x, y) = (mark.class(), px(x), px(y));
    format!("<circle class=\"{class} pt\" cx=\"{x}\" cy=\"{y}\" r=\"4\"><title>{}</title></circle>", escape(title))
}

/// The claims with one kind of question, and what came of each on the tables as they are.
pub(super) fn asked<'a, T>(
    data: &'a Ingredients,
    of: impl Fn(&'a Question) -> Option<T> + 'a,
) -> impl Iterator<Item = (&'a Claim, T, &'a AnswerRow)> {
    data.asked.claims.iter().filter_map(move |claim| Some((claim, of(&claim.ask)?, data.answer(&claim.key)?)))
}

/// An answer with interval and n, then its p; or why there is none.
pub(super) fn found_lines(row: &AnswerRow) -> [String; 2] {
    match &row.error {
        Some(error) => [error.clone(), String::new()],
        None => {
            let (estimate, n) = (answers::with_interval(&row.numbers), answers::n(&row.numbers));
            [format!("{estimate}, n = {n}"), answers::tests(row)]
        }
    }
}

/// The same in one line.
pub(super) fn found(row: &AnswerRow) -> String {
    let [estimate, tests] = found_lines(row);
    if tests.is_empty() { estimate } else { format!("{estimate}, {tests}") }
}

/// Names for a caption: of many the first few, and how many more.
pub(super) fn named(names: &[&str]) -> String {
    /// One more takes no more room than its number.
    const NAMED: usize = 4;
    let short = |names: &[&str]| names.iter().map(|name| shorten(name, 60)).collect::<Vec<_>>().join(", ");
    match names.len() {
        n if n <= NAMED + 1 => short(names),
        n => format!("{} and {} more", short(&names[..NAMED]), count(n - NAMED)),
    }
}

/// Whom answers could not use, for a caption: by what was asked; empty where nobody is.
pub(super) fn left_out<'a>(answers: impl IntoIterator<Item = (String, &'a AnswerRow)>) -> String {
    let of = |(what, row): (String, &AnswerRow)| {
        let names: Vec<&str> = row.left_out.iter().map(|(model, _)| model.as_str()).collect();
        (!names.is_empty()).then(|| format!("{what}: {}", named(&names)))
    };
    let all: Vec<String> = answers.into_iter().filter_map(of).collect();
    if all.is_empty() { String::new() } else { format!(" Models left out – {}.", all.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_the_first_few_stand() {
        assert_eq!(named(&["a", "b", "c", "d", "e"]), "a, b, c, d, e");
        assert_eq!(named(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d and 2 more");
    }
}
