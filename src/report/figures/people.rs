//! Who comes as close to single people as these come to each other.

use super::axes::{extent, from_zero};
use super::dots::{Axis, Dot, dot_panel};
use super::ranking::kinds_legend;
use crate::report::csv::{finite, kind_name, to_csv};
use crate::report::data::{Kind, ReportData, Respondent, in_rank_order, preferred_fit};
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::names::measure_name;
use crate::report::numbers::{count, decimals, range};
use crate::store::alignment::AlignmentRow;

/// The mean over people, of every measure that has their noise ceiling, under the preferred fit; nothing without several people.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let fit = preferred_fit(data)?;
    let rows = rows(data);
    let mut measures: Vec<&str> = rows.iter().map(|(row, _)| row.measure.as_str()).collect();
    measures.sort_unstable();
    measures.dedup();
    let panels: Vec<Panel> = measures.iter().enumerate().filter_map(|(at, key)| panel(at, key, data, fit)).collect();
    let mut legend = kinds_legend(data);
    legend.push(LegendItem {
        mark: "<rect class=\"band\" x=\"-8\" y=\"-8\" width=\"16\" height=\"16\"/>".into(),
        text: "noise ceiling: from lower to upper bound".into(),
    });
    let others =
        if measures.len() * data.respondents.len() < rows.len() { "; the file has the other fits" } else { "" };
    (!panels.is_empty()).then(|| Figure {
        name: "people",
        part: Part::Alignment,
        title: "Who comes as close to people as they come to each other".into(),
        caption: format!(
            "A dot is the mean over {n} people of the correlation between a respondent’s dissimilarities ({fit} fit{others}) and one \
             person’s; the respondents stand in the order of the ranking. The band is the noise ceiling (Nili et al. 2014): its lower end is how \
             well the others foresee a person, its upper end how well all do, the person among them. Who reaches the band is as close to \
             these people as they are to each other; nobody gets far beyond it. It is not the ceiling of the ranking, which is about \
             noise in a respondent’s answers.",
            n = count(data.n_subjects),
        ),
        csv: csv(data, &rows),
        legend,
        panels,
        columns: 2,
        ..Figure::default()
    })
}

/// Those with a mean over people, each with the kind of its respondent, in the order of the ranking.
fn rows<'a>(data: &'a ReportData) -> Vec<(&'a AlignmentRow, Kind)> {
    let known = || data.alignment.iter().filter(|row| row.subject_mean.is_some());
    let of =
        |one: &'a Respondent| known().filter(move |row| row.respondent == one.label).map(move |row| (row, one.kind));
    in_rank_order(data).into_iter().flat_map(of).collect()
}

fn panel(index: usize, measure: &str, data: &ReportData, fit: &str) -> Option<Panel> {
    let rows: Vec<_> = rows(data).into_iter().filter(|(row, _)| row.measure == measure && row.fit == fit).collect();
    let drawn = rows.iter().flat_map(|(row, _)| [row.subject_mean, row.noise_ceiling_lo, row.noise_ceiling_hi]);
    let domain = from_zero(extent(drawn.flatten())?);
    let dots = rows.iter().map(|(row, kind)| {
        let ceiling = row.noise_ceiling_lo.zip(row.noise_ceiling_hi);
        let three = |value| decimals(value, 3);
        let details = format!(
            "mean over people {}, noise ceiling {}, with the reference {}",
            three(row.subject_mean),
            ceiling.map_or_else(|| three(None), |ends| range(ends, three)),
            three(Some(row.value))
        );
        Dot {
            label: &row.respondent,
            kind: *kind,
            value: row.subject_mean,
            noise_ceiling: ceiling,
            details,
            ..Dot::default()
        }
    });
    let axis = Axis {
        title: format!("mean correlation with {} people, n = {} concepts", count(data.n_subjects), count(rows[0].0.n)),
        domain,
        log: false,
        line: None,
        format: |v| decimals(v, 3),
        tick: None,
    };
    Some(dot_panel(format!("people-{index}"), measure_name(measure), &dots.collect::<Vec<_>>(), &axis))
}

/// Every fit and measure that has a mean over people.
fn csv(data: &ReportData, rows: &[(&AlignmentRow, Kind)]) -> Vec<u8> {
    let header = [
        "fit",
        "respondent",
        "kind",
        "measure",
        "variant",
        "subject_mean",
        "noise_ceiling_lo",
        "noise_ceiling_hi",
        "value",
        "n_subjects",
        "n",
    ];
    let rows = rows.iter().map(|(row, kind)| {
        let numbers = [row.subject_mean, row.noise_ceiling_lo, row.noise_ceiling_hi, Some(row.value)];
        let of = (&row.fit, &row.respondent, kind_name(*kind), &row.measure, &row.variant);
        (of, numbers.map(|value| value.and_then(finite)), data.n_subjects, row.n)
    });
    to_csv(&header, rows)
}
