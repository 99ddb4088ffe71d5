//! The page of ingredients: a small table of models, asked one question of every kind that has a figure.

use super::{NASTY, assert_balanced, file, written};
use crate::config::RegressSection;
use crate::ingredients::benchmarks::correlations;
use crate::ingredients::{Cells, Table, Variant, Verdict};
use crate::report::data::*;
use crate::store::ingredients::AnswerRow;

const ASKED: &str = "
    scores = 'scores.csv'
    formula = 'r2 ~ tuned + (1 | family)'
    [benchmarks]
    columns = ['mmlu', 'bbh']
    measures = ['r2']
    [[claim]]
    key = 'tuned'
    says = 'Tuning helps'
    expect = 'positive'
    ask = { test = 'groups', column = 'tuned', level = 'yes' }
    [[claim]]
    key = 'kinds'
    says = 'Kinds do not matter'
    expect = 'same'
    ask = { test = 'levels', column = 'kind', ranks = true }
    [[claim]]
    key = 'pairs'
    says = 'Tuning a model helps'
    expect = 'positive'
    ask = { test = 'pairs', base = 'base' }
    [[claim]]
    key = 'second'
    says = 'The second step helps'
    expect = 'positive'
    ask = { test = 'step', chain = 'chain', stage = 'stage', from = 'sft', to = 'dpo' }
    [[claim]]
    key = 'first'
    says = 'The first step helps'
    expect = 'positive'
    ask = { test = 'step', chain = 'chain', stage = 'stage', from = 'base', to = 'sft' }
    [[claim]]
    key = 'size'
    says = 'Size matters'
    expect = 'positive'
    ask = { test = 'correlation', with = 'size' }
    [[claim]]
    key = 'mmlu'
    says = 'A benchmark'
    expect = 'positive'
    ask = { test = 'correlation', with = 'mmlu' }";

/// The first `n` of twelve models, of which four are `name`d: two chains of three stages, and six others.
fn table(n: usize, name: &str) -> Table {
    let rows: Vec<String> = (0..n).map(|i| if i == 0 { name.to_owned() } else { format!("model-{i:02}") }).collect();
    let levels = |of: &dyn Fn(usize) -> Option<String>| Cells::Levels((0..n).map(of).collect());
    let numbers = |of: &dyn Fn(usize) -> Option<f64>| Cells::Numbers((0..n).map(of).collect());
    let stage = |i: usize| (i < 6).then(|| ["base", "sft", "dpo"][i % 3].to_owned());
    let wave = |i: usize, by: f64| 0.1 * (i as f64 * by).sin();
    Table::new(
        rows.clone(),
        vec![
            ("r2".into(), numbers(&|i| (i != 11).then_some(0.3 + 0.01 * i as f64 + wave(i, 2.0)))),
            ("tuned".into(), levels(&|i| (i != 8).then(|| if i % 3 == 0 { "no" } else { "yes" }.into()))),
            ("kind".into(), levels(&|i| Some(if i < 7 { name } else { "other" }.into()))),
            ("base".into(), levels(&|i| (i % 3 != 0).then(|| rows[i - i % 3].clone()))),
            ("chain".into(), levels(&|i| (i < 6).then(|| if i < 3 { name.into() } else { "second chain".to_owned() }))),
            ("stage".into(), levels(&stage)),
            ("family".into(), levels(&|i| Some(format!("family {}", i % 4)))),
            ("size".into(), numbers(&|i| (i != 10).then_some(2_f64.powf(i as f64)))),
            ("mmlu".into(), numbers(&|i| Some(0.4 + wave(i, 2.1)))),
            ("bbh".into(), numbers(&|i| Some(0.5 - wave(i, 5.0)))),
        ],
    )
    .unwrap()
}

/// What `alike regress` would leave of `n` models.
fn page(n: usize, name: &str) -> ReportData {
    let asked: RegressSection = toml::from_str(ASKED).unwrap();
    let models = table(n, name);
    let answers = asked.claims.iter().map(|claim| {
        let answer = claim.ask.ask(&models, "r2", None);
        AnswerRow {
            claim: claim.key.clone(),
            says: format!("{} {name}", claim.says),
            source: String::new(),
            variant: Variant::AS_GIVEN.into(),
            expect: claim.expect,
            what: claim.ask.unit(),
            numbers: answer.as_ref().map(|answer| answer.found.into()).unwrap_or_default(),
            p_holm: answer.as_ref().ok().map(|_| 0.5),
            left_out: vec![],
            verdict: answer.as_ref().ok().map(|answer| claim.expect.judge(&answer.found, None).unwrap()),
            error: answer.err().map(|error| error.to_string()),
            command: format!("alike regress FILE --claim {} --variant 'as given'", claim.key),
        }
    });
    let answers = answers.collect();
    let benchmarks = asked.benchmarks.clone().unwrap();
    let effect = |term: &str, value: f64, interval| Effect {
        term: term.into(),
        value,
        interval,
        p: Some(0.01),
        p_holm: Some(1e-7),
    };
    let ingredients = Ingredients {
        correlations: correlations(&models, &benchmarks.measures, &benchmarks.columns, &[]).unwrap(),
        effects: vec![
            effect("(Intercept)", 9.0, None),
            effect("tuned[yes]", 0.1, Some((0.02, 0.18))),
            effect(name, -0.05, Some((-0.11, 0.01))),
        ],
        n_fitted: n,
        not_fitted: vec![],
        asked,
        models,
        answers,
    };
    ReportData {
        title: "Ingredients".into(),
        study: "small".into(),
        ingredients: Some(ingredients),
        ..ReportData::default()
    }
}

const FIGURES: [&str; 7] =
    ["scores", "groups", "quantities", "effects", "stages", "benchmark-scatter", "benchmark-correlations"];

#[test]
fn every_question_has_its_figure() {
    let files = written(&page(12, "model-00"));
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["svg", "csv"].map(|ending| FIGURES.map(|name| format!("figures/{name}.{ending}"))).concat();
    assert_eq!(names[1..], expected);
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".svg")) {
        assert!(!text.contains("NaN") && !text.contains("inf\""), "{name}");
        assert_balanced(text);
    }
    let n = |figure: &str, needle: &str| file(&files, &format!("figures/{figure}.svg")).matches(needle).count();
    assert_eq!(n("scores", "class=\"row\""), 11, "a row for each model with a score");
    assert_eq!(n("scores", "made from"), 7 + 1, "a model without a score is no pair; the legend says what a line is");
    assert_eq!(n("groups", " pt\""), 2 * 11 - 1, "a model without a level has no place there");
    assert_eq!((n("groups", "unknown pt"), n("quantities", "unknown pt")), (1, 1), "nor a mark of either");
    assert_eq!(n("groups", "class=\"box\""), 2, "six and seven models have a box, four have none");
    assert_eq!(n("quantities", " pt\""), 10, "one panel: a benchmark has its own figure");
    assert_eq!((n("quantities", "class=\"around\""), n("quantities", "log scale")), (1, 1), "from 1 to 512");
    assert_eq!(n("effects", "class=\"row\""), 2, "without the intercept");
    assert_eq!(n("benchmark-scatter", " pt\""), 2 * 11);
    assert_eq!(n("benchmark-correlations", "class=\"cell\""), 3);
    let stages = file(&files, "figures/stages.svg");
    let places = ["base", "sft", "dpo"].map(|stage| stages.find(&format!(">{stage}</text>")).unwrap());
    assert!(places.is_sorted(), "stages stand in the order of their steps, whichever was asked first: {places:?}");
    assert_eq!(written(&page(12, "model-00")), files, "the same bytes");
}

#[test]
fn one_model_does_no_harm() {
    for n in 0..4 {
        for (name, text) in written(&page(n, "alone")) {
            assert!(!text.contains("NaN"), "{n}: {name}");
            if name.ends_with(".svg") {
                assert_balanced(&text);
            }
        }
    }
    let files = written(&page(1, "alone"));
    assert_eq!(file(&files, "figures/scores.csv"), "rank,model,score,base,base_score\n1,alone,0.3,,\n");
    assert!(file(&files, "report.html").contains("7 could not be asked of so few models"));
}

#[test]
fn models_that_a_figure_leaves_out_are_named() {
    let mut data = page(12, "model-00");
    let page = |data: &ReportData| file(&written(data), "report.html").to_owned();
    assert!(page(&data).contains("Left out, without a score – model-11."));
    assert!(!page(&data).contains("for want of a cell"));
    let others = (1..=9).map(|i| (format!("other {i}"), "size".to_owned()));
    data.ingredients.as_mut().unwrap().not_fitted = others.collect();
    let text = page(&data);
    assert!(text.contains("Left out for want of a cell – other 1, other 2, other 3, other 4 and 5 more."), "{text}");
}

#[test]
fn names_from_tables_stay_text() {
    for (name, text) in written(&page(12, NASTY)).into_iter().filter(|(name, _)| !name.ends_with(".csv")) {
        assert!(!text.to_lowercase().contains("<script"), "{name}");
        // Of the page and of each figure but the matrix, whose columns are named in the file alone.
        assert!(text.contains("&lt;script&gt;") || name.contains("correlations"), "{name} shows the name as text");
        if name.ends_with(".svg") {
            assert_balanced(&text);
        }
    }
}

#[test]
fn csv_files_hold_what_is_drawn() {
    let data = page(12, "model-00");
    let files = written(&data);
    let csv = |name: &str| -> Vec<&str> { file(&files, &format!("figures/{name}.csv")).lines().collect() };
    assert_eq!(csv("groups")[0], "column,level,model,score");
    assert_eq!(csv("groups").len(), 2 * 11);
    assert_eq!(csv("effects")[1..], ["tuned[yes],0.1,0.02,0.18,0.01,1e-7", "model-00,-0.05,-0.11,0.01,0.01,1e-7"]);
    assert_eq!(csv("quantities")[0], "column,model,value,score,line,line_lo,line_hi");
    assert!(csv("quantities")[1].starts_with("size,model-00,1.0,0.3,0."));
    assert_eq!(csv("stages").len(), 1 + 6 + 2 * 7);
    assert!(csv("stages")[1].starts_with("stage,model-00,base,0.3"));
    let ingredients = data.ingredients.unwrap();
    let pearson = ingredients.correlations.iter().filter(|row| row.statistic.name() == "pearson");
    assert_eq!(csv("benchmark-correlations").len(), 1 + pearson.count());
}

#[test]
fn claims_stand_in_a_table_with_the_variants_that_differ() {
    let mut data = page(12, "model-00");
    let ingredients = data.ingredients.as_mut().unwrap();
    let given = ingredients.answers[0].clone();
    let same = AnswerRow { variant: "nothing new".into(), ..given.clone() };
    let mut other = AnswerRow { variant: "without one".into(), verdict: Some(Verdict::NotOnTheseData), ..given };
    other.numbers.value = Some(-0.4);
    ingredients.answers.splice(1..1, [same, other]);
    let files = written(&data);
    let page = file(&files, "report.html");
    assert!(page.contains("id=\"claims-h\"") && page.contains("<span>--claim</span> <span>tuned</span>"));
    assert!(page.contains("without one") && page.contains("−0.400") && !page.contains("nothing new"));
    assert!(!page.contains("All measures"), "nobody was asked here");
}

#[test]
fn the_lead_counts_verdicts_and_names_the_largest_effect() {
    let mut data = page(12, "model-00");
    let ingredients = data.ingredients.as_mut().unwrap();
    for (row, verdict) in ingredients.answers.iter_mut().zip([
        Verdict::Agrees,
        Verdict::Agrees,
        Verdict::SignOnly,
        Verdict::Undecided,
        Verdict::Undecided,
        Verdict::NotOnTheseData,
        Verdict::Agrees,
    ]) {
        row.verdict = Some(verdict);
    }
    ingredients.answers[0].p_holm = Some(0.001);
    let lead = crate::report::summary::paragraph(&data);
    for part in [
        "The scores of 12 models (R²) are set beside their properties, and 7 claims",
        "3 agree with the data, 1 have the right sign, but an interval that holds zero, 2 cannot be decided and 1 do not hold",
        "1 of the 3 that agree stand (p < 0.05).",
        "the largest effect is that of “tuned: yes”: 0.100 (95 % interval 0.020 to 0.180)",
        "nothing here shows what causes what",
    ] {
        assert!(lead.contains(part), "{part}: {lead}");
    }
}

#[test]
fn a_ranking_of_an_alignment_takes_the_place_of_scores() {
    let mut data = super::study(5);
    data.ingredients = page(12, "model-00").ingredients;
    for (at, row) in data.alignment.iter_mut().filter(|row| row.measure != MAIN_MEASURE).enumerate() {
        row.value = 0.02 * (at as f64).cos();
    }
    let files = written(&data);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"figures/ranking.svg") && !names.contains(&"figures/scores.svg"));
    let measures = file(&files, "figures/measure-correlations.csv");
    assert!(measures.starts_with("a,b,r,lo,hi,n\ncka_linear_debiased,procrustes_r2,"), "{measures}");
    assert!(measures.ends_with(",5\n"), "five models, the simulated subject left out: {measures}");
}
