//! Clocks, memory, and a model that computes nonsense.

use std::process::Command;
use std::time::Duration;

use crate::bench::{Bench, check_finished, drafts, fail, parts, project, succeed, text, whole_tables, words, written};
use crate::{Chance, Outcome, Skipped, Tried};

/// A run whose second half is ten years before its first.
pub(crate) fn clock(chance: Chance) -> Tried {
    if !Command::new("faketime").args(["-f", "-1d", "true"]).status().is_ok_and(|status| status.success()) {
        return Err(Skipped("no `faketime` (Debian's package of that name)".into()));
    }
    let bench = Bench::new();
    let expected = bench.unbroken();
    for turn in 0..chance.times {
        let _ = std::fs::remove_dir_all(&bench.out);
        let shard = format!("1/{}", turn + 2);
        succeed(&mut bench.judge(&bench.out, &["--shard", &shard]));
        let before = written(&bench.out);
        // Ten years back; then a clock that jumps back an hour whenever it is asked would need another library.
        let mut command = Command::new("faketime");
        command.args(["-f", "-3650d", env!("CARGO_BIN_EXE_alike"), "judge", text(&bench.study)]);
        succeed(command.args(["--out", text(&bench.out), "--resume"]));
        check_finished(&bench.out, &expected, &before);
        assert!(parts(&bench.out) == expected);
    }
    Ok(Outcome { times: chance.times, lost: "nothing: byte-identical to an unbroken run".into() })
}

/// The tiny model with weights that are NaN.
pub(crate) fn nan(_: Chance) -> Tried {
    let bench = Bench::new();
    let model = bench.folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(project("tests/it/golden/tiny-llama-scoring")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let data = model.join("model.onnx.data");
    let n = std::fs::metadata(&data).unwrap().len();
    std::fs::write(&data, f32::NAN.to_le_bytes().repeat(usize::try_from(n).unwrap() / 4)).unwrap();
    // Its checksums, which would tell first, are forgotten.
    let record = model.join("alike.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    json["files"] = serde_json::json!({});
    std::fs::write(record, json.to_string()).unwrap();
    let content = std::fs::read_to_string(&bench.study).unwrap();
    let tiny = project("tests/it/golden/tiny-llama-scoring");
    std::fs::write(&bench.study, content.replace(text(&tiny), text(&model))).unwrap();
    let said = fail(&mut bench.judge(&bench.out, &[]));
    assert!(said.contains("NaN") && said.contains("first bad presentation: ") && said.contains("hint:"), "{said}");
    assert!(parts(&bench.out).is_empty() && drafts(&bench.out).is_empty());
    Ok(Outcome {
        times: 1,
        lost: "nothing is written; the error names value, provider, precision and presentation".into(),
    })
}

/// Too little address space: an error or a kill by the runtime, but never a wrong file.
pub(crate) fn memory(chance: Chance) -> Tried {
    let bench = Bench::new();
    let expected = bench.unbroken();
    let (mut failed, mut clear) = (0, 0);
    // From what the program itself needs to more than the model needs.
    let steps = u64::try_from(chance.times).unwrap();
    for step in 0..=steps {
        let kib = 100_000 + step * 900_000 / steps;
        let before = written(&bench.out);
        let command = format!("ulimit -v {kib}; exec \"$0\" \"$@\"");
        let mut limited = Command::new("sh");
        limited.args([
            "-c",
            &command,
            env!("CARGO_BIN_EXE_alike"),
            "judge",
            text(&bench.study),
            "--out",
            text(&bench.out),
        ]);
        let output = limited.args(["--resume", "--threads", "1"]).output().unwrap();
        check_finished(&bench.out, &expected, &before);
        whole_tables(&bench.out);
        if !output.status.success() {
            failed += 1;
            clear += usize::from(output.status.code() == Some(1) && words(&output).contains("error: "));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    succeed(&mut bench.judge(&bench.out, &[]));
    assert!(parts(&bench.out) == expected && drafts(&bench.out).is_empty());
    let killed = match failed - clear {
        0 => String::new(),
        n => format!(", {n} are ended by the allocator (SIGABRT) as by the kernel"),
    };
    let lost = format!(
        "at most one part: {clear} of {failed} failures are an error with exit code 1{killed}; byte-identical in the end"
    );
    Ok(Outcome { times: failed, lost })
}
