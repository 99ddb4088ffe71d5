//! The numbers behind each figure as CSV: full precision, an empty cell for what is not there.

use serde::Serialize;

use super::{Kind, ReportData, drawn_maps, fits, in_rank_order, kind_of, ranked};
use crate::error::Result;
use crate::presentations::Task;

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "model",
        Kind::Simulated => "simulated",
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn to_csv<R: Serialize>(header: &[&str], rows: impl IntoIterator<Item = R>) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(header).map_err(std::io::Error::from)?;
    for row in rows {
        writer.serialize(row).map_err(std::io::Error::from)?;
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}

/// Figure 1, in the order drawn.
pub(super) fn ranking(data: &ReportData) -> Result<Vec<u8>> {
    let header = [
        "fit",
        "respondent",
        "kind",
        "reference",
        "measure",
        "variant",
        "value",
        "lo",
        "hi",
        "ceiling",
        "chance",
        "normalised",
        "null_mean",
        "p",
        "n",
        "ceiling_lo",
        "ceiling_hi",
        "chance_lo",
        "chance_hi",
    ];
    let optional = |value: Option<f64>| value.and_then(finite);
    let rows = fits(data).into_iter().flat_map(|fit| ranked(data, fit)).map(|row| {
        (
            (
                &row.fit,
                &row.respondent,
                kind_name(kind_of(data, &row.respondent)),
                &row.reference,
                &row.measure,
                &row.variant,
            ),
            (finite(row.value), optional(row.lo), optional(row.hi), optional(row.ceiling), optional(row.chance)),
            (optional(row.normalised), optional(row.null_mean), optional(row.p), row.n),
            [row.ceiling_lo, row.ceiling_hi, row.chance_lo, row.chance_hi].map(optional),
        )
    });
    to_csv(&header, rows)
}

/// Figure 2, one line for each concept of each map.
pub(super) fn maps(data: &ReportData) -> Result<Vec<u8>> {
    let rows = drawn_maps(data).into_iter().flat_map(|map| {
        data.concepts.iter().zip(&map.points).map(move |(concept, [x, y])| {
            (&map.respondent, &map.fit, &concept.name, &concept.category, finite(*x), finite(*y), finite(map.explained))
        })
    });
    to_csv(&["respondent", "fit", "concept", "category", "x", "y", "explained"], rows)
}

/// Figure 3, in the order drawn.
pub(super) fn quality(data: &ReportData) -> Result<Vec<u8>> {
    let shares: &[&str] = match data.task {
        Task::Anchored => &["first_share"],
        Task::OddOneOut => &["a_share", "b_share", "c_share"],
    };
    let before = ["respondent", "kind", "n", "n_unparsed", "median_choice_mass"];
    let after = [
        "mean_decisiveness",
        "top_token_permitted",
        "swap_consistency",
        "n_swapped",
        "triplets_per_second",
        "agreement",
        "n_agreement",
    ];
    let rows = in_rank_order(data).into_iter().map(|one| {
        let q = &one.quality;
        let number = |value: Option<f64>| value.and_then(finite);
        (
            (&one.label, kind_name(one.kind), q.n, q.n_unparsed),
            number(q.median_choice_mass),
            (0..shares.len()).map(|place| number(q.share_at(place))).collect::<Vec<_>>(),
            (number(q.mean_decisiveness), number(q.top_token_permitted)),
            (number(q.swap_consistency), q.n_swapped, number(one.triplets_per_second)),
            (number(one.agreement.share()), one.agreement.n),
        )
    });
    to_csv(&[&before, shares, &after].concat(), rows)
}
