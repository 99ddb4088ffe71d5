//! Files of the first version, committed once, are read by every later one.

use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::presentations::Task;
use alike::store::{choices, embedding, judgments, triplets};

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/first_version")
}

#[test]
fn judgments_of_the_first_version_are_read() {
    let concepts = Concepts::read_csv(&files().join("concepts.csv")).unwrap();
    for (task, folder, n) in [(Task::Anchored, "judgments", 40), (Task::OddOneOut, "oddoneout", 60)] {
        let read = |label: &str| judgments::read(&files().join(folder), task, label, &concepts).unwrap();
        let [scored, written, sure] = ["scored", "written", "sure"].map(read);
        assert_eq!([scored.len(), written.len(), sure.len()], [n; 3]);
        // All of them answered the same presentations, each once.
        let asked = |of: &[alike::judgments::Judgment]| of.iter().map(|j| j.presentation).collect::<Vec<_>>();
        assert!(asked(&scored) == asked(&written) && asked(&scored) == asked(&sure));
        assert!(asked(&scored).is_sorted_by(|one, next| one < next));
        let named = triplets::read_named(&files().join(format!("{folder}.triplets.parquet")), None).unwrap();
        assert_eq!((named.task, named.rows.len()), (task, n));
        // Each kind has what it can have.
        assert!(scored.iter().all(|j| {
            let model = j.model.as_ref().unwrap();
            let options = model.options.as_ref().unwrap();
            j.chosen.is_some() && model.answer.is_none() && options.log_prob.iter().all(|lp| *lp < 0.0)
        }));
        assert!(written.iter().all(|j| j.chosen.is_none() && j.model.as_ref().unwrap().answer.is_some()));
        assert!(sure.iter().all(|j| j.model.is_none() && j.decision == "simulated"));
        let read = choices::read(&judgments::respondent_path(&files().join(folder), "scored"), None, None).unwrap();
        assert_eq!(read.concepts.len(), 12);
    }
}

#[test]
fn an_embedding_of_the_first_version_is_read() {
    let read = embedding::read(&files().join("embedding.parquet")).unwrap();
    assert_eq!((read.names.len(), read.coordinates.ncols()), (12, 2));
    assert!(read.coordinates.as_ref().norm_l2() > 0.0);
}
