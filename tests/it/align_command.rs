//! `alike align` as a user runs it: intervals, references in other dimensions, people's choices, files that will not do.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use alike::alignment::noise_ceiling::of_embeddings;
use alike::alignment::{Measure, interval};
use alike::linalg::from_rows;
use alike::stats::mean;
use alike::store::alignment::{AlignmentRow, read};
use alike::store::refits;
use faer::Mat;

use crate::simulate::Place;
use crate::support::{cloud, fail, succeed};

const N: usize = 20;

/// An embedding as CSV, concepts `c00`, `c01`, …
fn write(folder: &Path, name: &str, x: &Mat<f64>) -> PathBuf {
    let header: Vec<String> = (0..x.ncols()).map(|k| format!("d{k:02}")).collect();
    let row = |i: usize| {
        let cells: Vec<String> = (0..x.ncols()).map(|k| x[(i, k)].to_string()).collect();
        format!("c{i:02},{}\n", cells.join(","))
    };
    let rows: String = (0..x.nrows()).map(row).collect();
    let path = folder.join(name);
    std::fs::write(&path, format!("concept,{}\n{rows}", header.join(","))).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn aligned(folder: &Path, own: &Path, reference: &Path, more: &[&str]) -> Vec<AlignmentRow> {
    let out = folder.join("alignment.parquet");
    let fixed =
        ["align", text(own), "--reference", text(reference), "--permutations", "20", "--force", "--out", text(&out)];
    succeed(&[&fixed[..], more].concat());
    read(&out).unwrap()
}

#[test]
fn intervals_and_dimensions_are_stated() {
    let folder = tempfile::tempdir().unwrap();
    let x = cloud(N, 4, 1);
    let noise = cloud(N, 4, 2);
    let reference = write(folder.path(), "reference.csv", &x);
    let own = write(folder.path(), "own.csv", &Mat::from_fn(N, 4, |i, k| x[(i, k)] + 0.5 * noise[(i, k)]));
    let rows = aligned(folder.path(), &own, &reference, &["--reference-dims", "3"]);
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert!(row.interval.as_ref().unwrap().contains("jackknife") && row.corrected.is_some(), "{row:?}");
        assert!(row.lo < Some(row.value) && Some(row.value) < row.hi, "{row:?}");
        assert!(row.variant.contains("reference: 3 of 4 dimensions by PCA"), "{row:?}");
    }
    let asked = ["--measure", "rsa_euclidean_rho_a", "--measure", "procrustes_r2", "--interval", "bootstrap"];
    let rows = aligned(folder.path(), &own, &reference, &asked);
    assert_eq!([&rows[0], &rows[1]].map(|row| row.lo.is_some()), [true, false], "a bootstrap is for RSA alone");
    let all = aligned(folder.path(), &own, &reference, &["--all", "--interval", "none"]);
    assert!(all.iter().any(|row| row.measure == "neighbour_overlap_10") && all.iter().all(|row| row.lo.is_none()));
    let refits = fail(&["align", text(&own), "--reference", text(&reference), "--interval", "refits"]);
    assert!(refits.contains("own.bootstrap.parquet") && refits.contains("--bootstrap"), "{refits}");
}

/// The interval of refits is that of the refits on disk, and the same in the same words twice.
#[test]
fn refits_that_were_embedded_make_an_interval() {
    let place = Place::new("anchored", 600);
    let text = |name: &str| place.text(name);
    let (reference, concepts, triplets) = (text("reference.csv"), text("concepts.csv"), text("triplets.parquet"));
    let (answers, own) = (text("judgments"), text("own.parquet"));
    let simulate =
        ["simulate", "--reference", &reference, "--concepts", &concepts, "--triplets", &triplets, "--out", &answers];
    succeed(&[&simulate[..], &["--response", "logistic", "--agreement", "0.85", "--label", "me"]].concat());
    let answers = text("judgments/respondent=me");
    succeed(&["embed", &answers, "--concepts", &concepts, "--out", &own, "--dims", "2", "--bootstrap", "20"]);
    let align = |out: &str| {
        let align = ["align", &own, "--concepts", &concepts, "--reference", &reference, "--permutations", "20"];
        succeed(&[&align[..], &["--interval", "refits", "--out", out]].concat());
        std::fs::read(out).unwrap()
    };
    assert!(align(&text("once.parquet")) == align(&text("twice.parquet")), "the same bytes twice");

    let x = place.reference.as_ref();
    let (names, draws) = refits::read(&place.at("own.bootstrap.parquet")).unwrap();
    assert!(names.is_sorted() && draws.len() == 20, "draws in the order of the reference");
    let rows = read(&place.at("once.parquet")).unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let measure: Measure = row.measure.parse().unwrap();
        let values: Vec<f64> = draws.iter().map(|draw| measure.value(x, draw.as_ref()).unwrap()).collect();
        let expected = interval::of_refits(row.value, &values).unwrap();
        let (lo, hi) = (row.lo.unwrap(), row.hi.unwrap());
        assert!((lo - expected.lo).abs() < 1e-12 && (hi - expected.hi).abs() < 1e-12, "{row:?}");
        assert!(lo < row.value && row.value < hi, "{row:?}");
        // Refits of resampled triplets are a little worse than the fit itself.
        assert!((mean(&values) - row.value).abs() < 0.1, "{row:?}: refits' mean {}", mean(&values));
        assert!(row.interval.unwrap().contains("refits") && row.corrected.is_none());
    }
}

#[test]
fn several_subjects_bound_what_can_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let truth = cloud(N, 4, 1);
    let near = |seed: u64| {
        let noise = cloud(N, 4, seed);
        Mat::from_fn(N, 4, |i, k| truth[(i, k)] + 0.4 * noise[(i, k)])
    };
    let subjects = [near(2), near(3), near(4)];
    let reference = write(folder.path(), "reference.csv", &truth);
    let own = write(folder.path(), "own.csv", &near(5));
    let files: Vec<PathBuf> =
        subjects.iter().enumerate().map(|(i, x)| write(folder.path(), &format!("subject{i}.csv"), x)).collect();
    let flags: Vec<&str> = files.iter().flat_map(|file| ["--subject", text(file)]).collect();
    let measures =
        ["--measure", "rsa_euclidean_spearman", "--measure", "rsa_cosine_rho_a", "--measure", "procrustes_r2"];
    let rows = aligned(folder.path(), &own, &reference, &[&flags[..], &measures].concat());
    for row in &rows[..2] {
        let measure: Measure = row.measure.parse().unwrap();
        let expected = of_embeddings(measure, &subjects).unwrap().unwrap();
        let each: Vec<f64> = subjects.iter().map(|x| measure.value(x.as_ref(), near(5).as_ref()).unwrap()).collect();
        // Coordinates go through their shortest decimal form, which is exact.
        assert_eq!((row.noise_ceiling_lo, row.noise_ceiling_hi), (Some(expected.lower), Some(expected.upper)));
        assert_eq!(row.subject_mean, Some(mean(&each)));
        assert!(expected.lower < expected.upper && mean(&each) < expected.upper, "{row:?}");
    }
    assert_eq!([rows[2].subject_mean, rows[2].noise_ceiling_lo, rows[2].noise_ceiling_hi], [None; 3]);

    // The columns are printed where there are any.
    let plain = ["align", text(&own), "--reference", text(&reference), "--permutations", "0"];
    assert!(succeed(&[&plain[..], &flags].concat()).contains("noise ceiling"));
    assert!(!succeed(&plain).contains("noise ceiling"));

    // Rows in another order are the same subject; a row too few, one subject and measures without a ceiling are refused by name.
    let backwards: Vec<String> = std::fs::read_to_string(&files[0]).unwrap().lines().map(str::to_owned).collect();
    let turned = [&backwards[..1], &backwards[1..].iter().rev().cloned().collect::<Vec<_>>()].concat().join("\n");
    std::fs::write(&files[0], turned).unwrap();
    let again = aligned(folder.path(), &own, &reference, &[&flags[..], &measures].concat());
    assert_eq!(again, rows);
    let refused = |more: &[&str]| fail(&[&plain[..], more].concat());
    let one = refused(&flags[..2]);
    assert!(one.contains("`subjects`") && one.contains("2 or more"), "{one}");
    let none = refused(&[&flags[..], &["--measure", "procrustes_r2"]].concat());
    assert!(none.contains("procrustes_r2") && none.contains("RSA"), "{none}");
    let shorter = write(folder.path(), "shorter.csv", &cloud(N - 1, 4, 2));
    for more in [&[][..], &["--allow-missing"]] {
        let missing = refused(&[&flags[..2], &["--subject", text(&shorter)], more].concat());
        assert!(missing.contains("shorter.csv") && missing.contains("c19"), "{missing}");
    }
    let absent = refused(&[&flags[..2], &["--subject", "nobody.csv"]].concat());
    assert!(absent.contains("nobody.csv"), "{absent}");
}

/// A study without models, whose human side has everything: every fit of every respondent gets the rows of the flags.
#[test]
fn a_study_aligns_with_subjects_and_choices() {
    let place = Place::new("anchored", 300);
    let header = "anchor,first,second,chosen\n";
    let choices: String = (1..11).map(|i| format!("c{i:02},c{:02},c{:02},c{:02}\n", i - 1, i + 1, i + 1)).collect();
    std::fs::write(place.at("people.csv"), format!("{header}{choices}")).unwrap();
    let reference = std::fs::read_to_string(place.at("reference.csv")).unwrap();
    std::fs::write(place.at("one.csv"), &reference).unwrap();
    std::fs::write(place.at("other.csv"), reference.replace("-", "")).unwrap();
    let study = |align: &str| {
        let file = format!(
            "[study]\nname = \"s\"\n[concepts]\npath = \"concepts.csv\"\n[triplets]\nn = 200\n\
             [[simulated]]\nlabel = \"a\"\nresponse = \"noise-free\"\n[[simulated]]\nlabel = \"b\"\nresponse = \"coin-flip\"\n\
             [embed]\ndims = 2\n[align]\nreference = \"reference.csv\"\npermutations = 19\n{align}\n"
        );
        std::fs::write(place.at("s.toml"), file).unwrap();
    };
    let people = "choices = \"people.csv\"\nsubjects = [\"one.csv\", \"other.csv\"]";
    let arguments = ["run", &place.text("s.toml"), "--out", &place.text("out")];
    let table = place.at("out/alignment.parquet");

    // What is not there is an error before anyone is asked.
    study("choices = \"nobody.csv\"");
    let missing = fail(&arguments);
    assert!(missing.contains("people's choices") && missing.contains("nobody.csv"), "{missing}");
    study("choice_names = \"names.txt\"");
    assert!(fail(&arguments).contains("align.choice_names"));
    study("subjects = [\"one.csv\"]");
    assert!(fail(&arguments).contains("2 or more"));
    assert!(!place.at("out/judgments").exists() && !table.exists());

    study(people);
    succeed(&arguments);
    let rows = read(&table).unwrap();
    // Two respondents, two fits, four measures and the choices.
    assert_eq!(rows.len(), 20);
    for (at, row) in rows.iter().filter(|row| row.measure == "choice_agreement").enumerate() {
        assert_eq!((row.respondent.as_str(), row.reference.as_str()), (["a", "b"][at / 2], "people"));
        let own = place.text(&format!("out/embeddings/{}.{}.parquet", row.respondent, row.fit));
        let out = place.text("alone.parquet");
        let (concepts, reference, choices) =
            (place.text("concepts.csv"), place.text("reference.csv"), place.text("people.csv"));
        let align = ["align", &own, "--concepts", &concepts, "--reference", &reference, "--choices", &choices];
        succeed(&[&align[..], &["--permutations", "19", "--force", "--out", &out]].concat());
        let alone = read(Path::new(&out)).unwrap().pop().unwrap();
        assert_eq!(AlignmentRow { respondent: row.respondent.clone(), fit: row.fit.clone(), ..alone }, *row);
    }
    let bounded: Vec<_> = rows.iter().filter(|row| row.noise_ceiling_lo.is_some()).collect();
    assert!(bounded.len() == 4 && bounded.iter().all(|row| row.measure == "rsa_euclidean_spearman"));
    let second = |text: &str| {
        text.lines()
            .skip(1)
            .map(|line| line.split(',').skip(1).map(|x| x.parse().unwrap()).collect())
            .collect::<Vec<Vec<f64>>>()
    };
    let other = from_rows(&second(&reference.replace("-", ""))).unwrap();
    let measure: Measure = "rsa_euclidean_spearman".parse().unwrap();
    let expected = of_embeddings(measure, &[place.reference.clone(), other]).unwrap().unwrap();
    assert!(bounded.iter().all(|row| row.noise_ceiling_hi == Some(expected.upper)));

    // Nothing is done twice, and other choices are another alignment.
    let before = std::fs::read(&table).unwrap();
    let modified = table.metadata().unwrap().modified().unwrap();
    succeed(&arguments);
    assert_eq!(table.metadata().unwrap().modified().unwrap(), modified);
    let turned = choices.replace("c01,c00,c02,c02", "c01,c00,c02,c00");
    std::fs::write(place.at("people.csv"), format!("{header}{turned}")).unwrap();
    succeed(&arguments);
    assert!(std::fs::read(&table).unwrap() != before);
}

#[test]
fn people_s_choices_are_a_reference_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let line = Mat::from_fn(N, 1, |i, _| (i * i) as f64);
    let own = write(folder.path(), "own.csv", &line);
    // Everyone takes the nearer one, but once; each triplet is answered twice, and one is about something else.
    let mut choices = String::from("anchor,first,second,chosen\nc00,c01,other,c01\n");
    for i in 1..N - 1 {
        let (below, above) = (format!("c{:02}", i - 1), format!("c{:02}", i + 1));
        choices += &format!("c{i:02},{below},{above},{below}\n");
        choices += &format!("c{i:02},{above},{below},{}\n", if i == 1 { &above } else { &below });
    }
    let file = folder.path().join("people.csv");
    std::fs::write(&file, choices).unwrap();
    let rows = aligned(folder.path(), &own, &own, &["--choices", text(&file)]);
    let row = rows.last().unwrap();
    assert_eq!((row.measure.as_str(), row.reference.as_str()), ("choice_agreement", "people"));
    assert_eq!(row.variant, "36 of 37 anchored choices");
    assert_eq!((row.value, row.ceiling_lo, row.ceiling_hi), (35.0 / 36.0, Some(34.0 / 36.0), Some(35.0 / 36.0)));
    assert!(row.lo.unwrap() < row.value && row.p == Some(1.0 / 21.0), "{row:?}");
}

#[test]
fn files_that_will_not_do_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let x = cloud(N, 3, 1);
    let reference = write(folder.path(), "reference.csv", &x);
    let refused = |name: &str, text_of: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text_of).unwrap();
        fail(&["align", text(&path), "--reference", text(&reference)])
    };
    let whole = std::fs::read_to_string(&reference).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let cell = |of: &str| whole.replacen(lines[3].split(',').nth(1).unwrap(), of, 1);
    assert!(refused("nan.csv", &cell("NaN")).contains("nan.csv, row 2, column 0"));
    assert!(refused("inf.csv", &cell("inf")).contains("inf.csv, row 2, column 0"));
    assert!(refused("ragged.csv", &cell("1,2")).contains("ragged.csv"));
    let twice = refused("twice.csv", &whole.replacen("c01", "c00", 1));
    assert!(twice.contains("c00"), "{twice}");
    // A reference without one of the concepts: a clear error, or the intersection when asked for.
    let shorter = write(folder.path(), "shorter.csv", &cloud(N - 1, 3, 2));
    let missing = fail(&["align", text(&reference), "--reference", text(&shorter)]);
    assert!(missing.contains("c19") && missing.contains("shorter.csv"), "{missing}");
    assert_eq!(aligned(folder.path(), &reference, &shorter, &["--allow-missing"])[0].n, N - 1);
}
