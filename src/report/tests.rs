mod ingredients;

use std::path::PathBuf;

use super::data::*;
use super::structure::*;
use super::*;
use crate::alignment::agreement::Agreement;
use crate::judgments::{Quality, SameChoice};
use crate::store::alignment::AlignmentRow;

const NASTY: &str = "<script>alert('x')</script>\"&\u{0}";

fn row(respondent: &str, fit: &str, measure: &str, value: f64) -> AlignmentRow {
    AlignmentRow {
        respondent: respondent.into(),
        fit: fit.into(),
        reference: "people".into(),
        measure: measure.into(),
        value,
        null_mean: Some(0.11),
        p: Some(if value > 0.2 { 0.001 } else { 0.4 }),
        ceiling: Some(0.5),
        ceiling_lo: Some(0.47),
        ceiling_hi: Some(0.522),
        chance: Some(0.12),
        chance_lo: Some(-0.014),
        chance_hi: Some(0.131),
        normalised: Some((value - 0.12) / 0.38),
        n: 4,
        ..AlignmentRow::default()
    }
}

/// Both maps of an embedding.
fn drawings(respondent: &str, fit: &str, points: &[[f64; 2]]) -> Vec<ConceptMap> {
    let tsne = Axes::Neighbours { perplexity: 1.0, kl_nats: 0.25, converged: true };
    [Axes::Components { explained: 0.4 }, tsne]
        .map(|axes| ConceptMap {
            respondent: respondent.into(),
            fit: fit.into(),
            axes,
            points: points.to_vec(),
            trust: Some(Trust { value: 0.875, neighbours: 1 }),
        })
        .to_vec()
}

fn rdm(respondent: &str, fit: &str) -> Rdm {
    let cells = vec![0.0, 0.5, 1.0, 1.5, 0.5, 0.0, 0.9, 1.1, 1.0, 0.9, 0.0, 1.0, 1.5, 1.1, 1.0, 0.0];
    Rdm { respondent: respondent.into(), fit: fit.into(), cells, within: Some(0.5), between: Some(1.1) }
}

/// A study of `n` models and a simulated subject over four concepts.
fn study(n: usize) -> ReportData {
    let concept =
        |name: &str, category: Option<&str>| ConceptLabel { name: name.into(), category: category.map(Into::into) };
    let points = vec![[0.0, 0.0], [1.0, 0.5], [-1.0, 2.0], [0.5, -0.5]];
    let mut data = ReportData {
        title: "Small".into(),
        study: "small".into(),
        n_triplets: 1200,
        concepts: vec![
            concept("bear", Some("animal")),
            concept("cup, red", Some("container")),
            concept("fig", None),
            concept("ox", Some("animal")),
        ],
        reference: "people".into(),
        maps: drawings("people", "", &points),
        dissimilarities: Dissimilarities { order: vec![0, 3, 1, 2], per_cell: 1, matrices: vec![rdm("people", "")] },
        ..ReportData::default()
    };
    for i in 0..=n {
        let label = if i == n { "human-like".to_owned() } else { format!("model-{i:02}") };
        let value = if i == n { 0.45 } else { 0.1 + 0.001 * i as f64 };
        for fit in [PREFERRED_FIT, PAPER_FIT] {
            data.alignment.push(row(&label, fit, MAIN_MEASURE, value));
            data.alignment.push(row(&label, fit, "cka_linear_debiased", 0.02));
            data.maps.extend(drawings(&label, fit, &points));
        }
        data.dissimilarities.matrices.push(rdm(&label, PREFERRED_FIT));
        data.sparse.push(SparseDimensions {
            respondent: label.clone(),
            fit: "spose".into(),
            dimensions: vec![
                SparseDimension { column: 2, total: 3.0, top: vec![(0, 2.0), (2, 1.0)] },
                SparseDimension { column: 1, total: 1.0, top: vec![(1, 1.0)] },
                SparseDimension { column: 3, ..SparseDimension::default() },
            ],
        });
        data.respondents.push(Respondent {
            label,
            kind: if i == n { Kind::Simulated } else { Kind::Model },
            quality: Quality {
                n: 1200,
                median_choice_mass: (i < n).then_some(1e-6),
                place_shares: Some(vec![0.7, 0.3]),
                ..Quality::default()
            },
            fits: vec![FitSummary { fit: PAPER_FIT.into(), loss: PAPER_FIT.into(), dims: 30, ..FitSummary::default() }],
            run: (i < n).then(|| Run {
                n_made: 1200,
                triplets_per_second: Some(20.0 + i as f64),
                seconds: vec![(Stage::Load, 1.0), (Stage::Model, 9.0)],
                ..Run::default()
            }),
            ..Respondent::default()
        });
    }
    for (i, one) in data.respondents.iter().enumerate() {
        let same = SameChoice { n: 1200, share: Some(0.3 + 0.6 / (1 + i) as f64) };
        let pair = |other: &Respondent| Compared { labels: [one.label.clone(), other.label.clone()], same };
        data.compared.extend(data.respondents[..i].iter().map(pair));
        data.curves.extend([100, 200].map(|n_triplets| CurvePoint {
            respondent: one.label.clone(),
            loss: PREFERRED_FIT.into(),
            n_triplets,
            n_draws: 3,
            n_heldout: 240,
            chance: 0.5,
            accuracy: Spread::of(&[0.6, 0.62]),
            r2: None,
        }));
    }
    data
}

fn written(data: &ReportData) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), data).unwrap();
    let name = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs_err::read_to_string(path).unwrap())).collect()
}

fn file<'a>(files: &'a [(String, String)], name: &str) -> &'a str {
    &files.iter().find(|(found, _)| found == name).expect("the file was written").1
}

/// The tags of well-formed XML close in the order they opened, and attributes are quoted.
fn assert_balanced(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("every tag ends");
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<'), "a bare < in {tag:?}");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of {tag:?}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "close tags follow open tags");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap_or_default());
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn one_and_many_respondents_give_all_files_and_sound_svg() {
    for n in [1, 75] {
        let files = written(&study(n));
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "report.html");
        let small: &[&str] = if n > 5 { &["rdms"] } else { &[] };
        let drawn = [
            &["ranking", "maps", "tsne", "rdm"],
            small,
            &["dimensions", "quality", "compared", "curves", "throughput"],
        ]
        .concat();
        assert_eq!(
            names[1..],
            ["svg", "csv"]
                .map(|ending| drawn.iter().map(move |name| format!("figures/{name}.{ending}")))
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        );
        for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".svg")) {
            assert!(!text.contains("NaN"), "{name}");
            assert_balanced(text);
        }
        assert_eq!(
            file(&files, "figures/ranking.svg").matches("class=\"row\"").count(),
            2 * (n + 1),
            "a row for each respondent and fit"
        );
        for map in ["maps", "tsne"] {
            assert_eq!(
                file(&files, &format!("figures/{map}.svg")).matches("<use").count(),
                4 * (n + 2) + 3,
                "every concept in every map, and the legend"
            );
        }
        let pictures = |name: &str| file(&files, name).matches("<image").count();
        assert_eq!(pictures("figures/rdm.svg"), if n > 5 { 2 } else { n + 2 });
        assert_eq!(
            file(&files, "figures/dimensions.svg").matches("class=\"bar\"").count(),
            3 * (n + 1).min(4),
            "the concepts of the dimensions that weigh anything, of four embeddings"
        );
    }
}

#[test]
fn the_same_data_give_the_same_bytes() {
    assert_eq!(written(&study(5)), written(&study(5)));
}

#[test]
fn hostile_names_stay_text() {
    let mut data = study(2);
    let long = "x".repeat(300);
    for name in [NASTY, long.as_str()] {
        data.title = name.into();
        data.study = name.into();
        data.reference = name.into();
        data.notes.push(name.into());
        data.provenance.push((name.into(), name.into()));
    }
    data.concepts[0] = ConceptLabel { name: NASTY.into(), category: Some(NASTY.into()) };
    data.concepts[1] = ConceptLabel { name: long.clone(), category: Some(long) };
    for one in &mut data.alignment {
        one.respondent = one.respondent.replace("model-00", NASTY);
        one.fit = one.fit.replace(PAPER_FIT, NASTY);
        one.measure = one.measure.replace("cka_linear_debiased", NASTY);
        one.variant = NASTY.into();
    }
    for one in &mut data.respondents {
        one.label = one.label.replace("model-00", NASTY);
        one.description = NASTY.into();
        one.fits[0].notes.push(NASTY.into());
        one.fits[0].loss = NASTY.into();
    }
    let names = data.maps.iter_mut().map(|map| &mut map.respondent);
    let names = names.chain(data.dissimilarities.matrices.iter_mut().map(|rdm| &mut rdm.respondent));
    for name in names.chain(data.sparse.iter_mut().flat_map(|one| [&mut one.respondent, &mut one.fit])) {
        *name = name.replace("model-00", NASTY).replace("spose", NASTY);
    }
    for label in data.compared.iter_mut().flat_map(|pair| &mut pair.labels) {
        *label = label.replace("model-00", NASTY);
    }
    for point in &mut data.curves {
        point.respondent = point.respondent.replace("model-00", NASTY);
        point.loss = NASTY.into();
    }
    let files = written(&data);
    for (name, text) in files.iter().filter(|(name, _)| !name.ends_with(".csv")) {
        assert!(!text.to_lowercase().contains("<script"), "{name}");
        assert!(text.contains("&lt;script&gt;"), "{name} shows the name as text");
    }
    for (_, text) in files.iter().filter(|(name, _)| name.ends_with(".svg")) {
        assert_balanced(text);
        assert!(!text.contains('\u{0}'), "XML has no NUL");
    }
}

#[test]
fn a_name_cannot_turn_the_summary_around() {
    let mut data = study(1);
    for label in data
        .alignment
        .iter_mut()
        .map(|row| &mut row.respondent)
        .chain(data.respondents.iter_mut().map(|one| &mut one.label))
    {
        *label = label.replace("model-00", "\u{202e}model");
    }
    let lead = summary::paragraph(&data);
    assert!(lead.contains("\u{fffd}model is at chance") && !lead.contains('\u{202e}'));
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let files = written(&study(3));
    let page = file(&files, "report.html");
    assert!(page.contains("default-src 'none'"));
    for needle in ["http://", "https://", "<script", "<link", "<img", "@import", "url(", " onload", "javascript:"] {
        assert!(!page.contains(needle), "{needle}");
    }
}

#[test]
fn what_is_missing_is_a_dash_and_never_nan() {
    let mut data = study(1);
    for one in &mut data.alignment {
        *one = AlignmentRow {
            respondent: one.respondent.clone(),
            fit: one.fit.clone(),
            measure: one.measure.clone(),
            value: f64::NAN,
            ..AlignmentRow::default()
        };
    }
    data.maps[0].points[1] = [f64::NAN, 0.0];
    data.maps[2].points.clear();
    data.maps[2].axes = Axes::Components { explained: f64::NAN };
    data.maps[3].trust = None;
    data.dissimilarities.matrices.clear();
    data.respondents[0].fits[0].participation_ratio = f64::NAN;
    data.respondents[0].fits[0].penalty = f64::INFINITY;
    for (name, text) in written(&data).into_iter().chain(written(&ReportData::default())) {
        assert!(!text.contains("NaN") && !text.contains(">inf"), "{name}");
        if name.ends_with(".svg") {
            assert_balanced(&text);
        }
    }
}

#[test]
fn the_summary_says_at_chance_and_what_the_reference_is() {
    let mut data = study(1);
    let page = |data: &ReportData| file(&written(data), "report.html").to_owned();
    let text = page(&data);
    assert!(text.contains("model-00 is at chance"));
    assert!(!text.contains("not human data"));
    data.reference_built_in = true;
    assert!(page(&data).contains("The reference is not human data."));
    for one in data.alignment.iter_mut().filter(|one| one.respondent == "model-00") {
        (one.value, one.p) = (0.3, Some(0.001));
    }
    assert!(page(&data).contains("model-00 is above chance"));
    assert!(page(&study(75)).contains("0 of 75 models are above chance (permutation p ≤ 0.01) and 75 are at chance"));
}

/// A model whose fit is a little lucky, whose choices are a coin's and who would have said something else, says all of it;
/// beside it one that stands above chance.
#[test]
fn the_summary_says_plainly_who_sits_at_chance() {
    let mut data = study(2);
    for one in data.alignment.iter_mut().filter(|one| one.fit == PREFERRED_FIT && one.measure == MAIN_MEASURE) {
        match one.respondent.as_str() {
            "model-00" => (one.value, one.p) = (0.15, Some(0.045)),
            "model-01" => (one.value, one.p) = (0.3, Some(0.001)),
            _ => {}
        }
    }
    data.respondents[0].agreement = Agreement { n: 1000, n_same: 509 };
    data.respondents[1].agreement = Agreement { n: 1000, n_same: 661 };
    data.respondents[1].quality.median_choice_mass = None;
    let lead = summary::paragraph(&data);
    assert!(lead.contains("model-00 sits at chance, for a p like this one comes by luck"), "{lead}");
    assert!(
        lead.contains("in 50.9\u{202f}% of the 1,000 judgments that the reference decides, no more than a coin’s."),
        "{lead}"
    );
    assert!(lead.contains("model-01 is above chance"), "{lead}");
    assert!(
        lead.contains(
            "in 66.1\u{202f}% of the 1,000 judgments that the reference decides, where a coin’s would be in 50"
        ),
        "{lead}"
    );
    assert_eq!(lead.matches("Left free it would hardly ever").count(), 1, "an encoder is never left free: {lead}");
}

#[test]
fn csv_files_hold_the_numbers_as_drawn() {
    let files = written(&study(1));
    let ranking: Vec<&str> = file(&files, "figures/ranking.csv").lines().collect();
    assert_eq!(
        ranking[0],
        "fit,respondent,kind,reference,measure,variant,value,lo,hi,ceiling,chance,normalised,null_mean,p,n,ceiling_lo,ceiling_hi,chance_lo,chance_hi"
    );
    assert_eq!(ranking.len(), 5);
    assert!(ranking[1].ends_with(",0.47,0.522,-0.014,0.131"), "{}", ranking[1]);
    let page = file(&files, "report.html");
    assert!(page.contains("0.500 (0.47…0.52)") && page.contains("0.120 (−0.01…0.13)"), "{page}");
    assert!(ranking[1].starts_with("crowd-kernel,human-like,simulated,people,procrustes_r2,,0.45,,,0.5,0.12,"));
    assert!(ranking[4].starts_with("logistic-distance,model-00,model,people,procrustes_r2,,0.1,,,0.5,0.12,"));
    let maps: Vec<&str> = file(&files, "figures/maps.csv").lines().collect();
    assert_eq!(maps[2], "people,,\"cup, red\",container,1.0,0.5,0.4,0.875");
    assert_eq!(maps.len(), 1 + 3 * 4);
    let tsne: Vec<&str> = file(&files, "figures/tsne.csv").lines().collect();
    assert_eq!(tsne[0], "respondent,fit,concept,category,x,y,perplexity,kl_nats,trustworthiness");
    assert_eq!(tsne[3], "people,,fig,,-1.0,2.0,1.0,0.25,0.875");
    let rdm: Vec<&str> = file(&files, "figures/rdm.csv").lines().collect();
    assert_eq!(rdm[..2], ["concept_a,concept_b,people,model-00,human-like", "bear,ox,0.5,0.5,0.5"]);
    assert_eq!(rdm.len(), 1 + 6);
    let dimensions: Vec<&str> = file(&files, "figures/dimensions.csv").lines().collect();
    assert_eq!(dimensions[0], "respondent,fit,dimension,column,total,place,concept,weight");
    assert_eq!(dimensions[2], "model-00,spose,1,2,3.0,2,fig,1.0");
    let quality: Vec<&str> = file(&files, "figures/quality.csv").lines().collect();
    let (lo, hi) = crate::stats::wilson_95(840, 1200);
    assert_eq!(quality[1], format!("human-like,simulated,1200,0,,0.7,,,,0,,,0,,0,{lo},{hi},,,,,,,,"));
    assert_eq!(quality[2], format!("model-00,model,1200,0,1e-6,0.7,,,,0,20.0,,0,,0,{lo},{hi},,,,,,,,"));
}

#[test]
fn the_noise_ceiling_of_people_stands_where_a_measure_has_one() {
    let mut data = study(2);
    assert!(!written(&data).iter().any(|(name, _)| name.contains("people")), "nobody was compared with people");
    data.n_subjects = 7;
    for row in data.alignment.iter_mut().filter(|row| row.measure != MAIN_MEASURE) {
        row.measure = "rsa_euclidean_spearman".into();
        row.subject_mean = Some(if row.respondent == "human-like" { 0.75 } else { 0.25 });
        (row.noise_ceiling_lo, row.noise_ceiling_hi) = (Some(0.5), Some(0.75));
    }
    let files = written(&data);
    let svg = file(&files, "figures/people.svg");
    assert_balanced(svg);
    // The axis from 0 to 0.8 is 220 pixels wide: the band lies from 5/8 of it to 15/16, through all three rows of 30 pixels.
    let band = |top: f64| format!("<rect class=\"band\" x=\"311.5\" y=\"{top}\" width=\"68.8\" height=\"30\"/>");
    assert!([34.0, 64.0, 94.0].iter().all(|top| svg.contains(&band(*top))), "{svg}");
    assert_eq!(svg.matches("class=\"row\"").count(), 3, "one measure under the preferred fit");
    let csv: Vec<&str> = file(&files, "figures/people.csv").lines().collect();
    assert_eq!(csv.len(), 1 + 3 * 2, "the file has both fits");
    assert_eq!(csv[1], "logistic-distance,human-like,simulated,rsa_euclidean_spearman,,0.75,0.5,0.75,0.02,7,4");
    let page = file(&files, "report.html");
    assert!(page.contains("the mean over 7 people") && page.contains("mean correlation with 7 people, n = 4 concepts"));
}

#[test]
fn the_reference_leads_the_maps_and_the_preferred_fit_follows() {
    let data = study(2);
    let drawn: Vec<(&str, &str)> = drawn_maps(&data, |axes| matches!(axes, Axes::Neighbours { .. }))
        .iter()
        .map(|map| (map.respondent.as_str(), map.fit.as_str()))
        .collect();
    assert_eq!(
        drawn,
        [("people", ""), ("human-like", PREFERRED_FIT), ("model-01", PREFERRED_FIT), ("model-00", PREFERRED_FIT)]
    );
}

#[test]
fn odd_one_out_studies_show_three_places() {
    let mut data = study(2);
    data.task = crate::presentations::Task::OddOneOut;
    for one in &mut data.respondents {
        one.quality.place_shares = Some(vec![0.5, 0.3, 0.2]);
    }
    let files = written(&data);
    let page = file(&files, "report.html");
    let shares = "50.0\u{202f}% · 30.0\u{202f}% · 20.0\u{202f}%";
    assert!(page.contains("1,200 odd-one-out triplets") && page.contains(shares));
    let svg = file(&files, "figures/quality.svg");
    assert_balanced(svg);
    assert!(svg.contains("Third place") && !svg.contains("Position bias"));
    let csv = file(&files, "figures/quality.csv");
    assert!(csv.starts_with("respondent,kind,n,n_unparsed,median_choice_mass,a_share,b_share,c_share,"));
    assert!(csv.contains("model-00,model,1200,0,1e-6,0.5,0.3,0.2,,,,0,"), "{csv}");
}
