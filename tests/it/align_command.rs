//! `alike align` as a user runs it: intervals, references in other dimensions, people's choices, files that will not do.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use alike::store::alignment::{AlignmentRow, read};
use faer::Mat;

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
