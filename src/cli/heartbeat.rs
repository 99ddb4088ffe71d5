//! Signs of life of a long run: in the log, in a file beside the results that `alike status` reads, for Prometheus on request.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use alike::store::table::{sweep, write_atomically};
use serde_json::{Map, Value, json};

use crate::cli::shard::Shard;
use crate::cli::write_json;

/// How far a stage is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) done: u64,
    pub(crate) total: u64,
    /// A second, of what this run did itself.
    pub(crate) rate: f64,
}

impl Pace {
    /// Seconds to the end; unknown before anything is done.
    pub(crate) fn eta_seconds(self) -> Option<f64> {
        (self.rate > 0.0).then(|| self.total.saturating_sub(self.done) as f64 / self.rate)
    }
}

/// Who is at work, and where that is written down.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    state: PathBuf,
    metrics: Option<PathBuf>,
    known: Map<String, Value>,
    /// Index of the GPU at work.
    gpu: Option<i32>,
}

/// The place of a run's state, beside its record.
pub(crate) fn state_path(record: &Path) -> PathBuf {
    record.with_extension("state.json")
}

impl Heartbeat {
    /// Begins: the state says "running" from here on.
    pub(crate) fn begin(
        record: &Path,
        (label, shard): (&str, Shard),
        (n_parts, n_missing): (usize, usize),
        gpu: Option<i32>,
        metrics: Option<&PathBuf>,
    ) -> alike::Result<Self> {
        let mut known = Map::new();
        known.insert("respondent".into(), label.into());
        known.insert("shard".into(), shard.to_string().into());
        known.insert("parts".into(), n_parts.into());
        known.insert("parts_to_make".into(), n_missing.into());
        known.insert("started".into(), unix_seconds().into());
        known.extend(place());
        let beat = Self { state: state_path(record), metrics: metrics.cloned(), known, gpu };
        beat.write(json!({ "state": "running" }))?;
        Ok(beat)
    }

    /// Tells how far the run is. A state that cannot be written is told in the log and stops nothing.
    pub(crate) fn beat(&self, pace: Pace) {
        let mut now = json!({
            "state": "running", "done": pace.done, "total": pace.total, "rate": pace.rate, "eta_seconds": pace.eta_seconds(),
            "resident_bytes": resident_bytes(), "gpu_bytes": self.gpu.and_then(gpu_bytes),
        });
        if let Err(error) = self.write(now.take()) {
            tracing::warn!("{error}");
        }
    }

    fn write(&self, now: Value) -> alike::Result<()> {
        let mut state = self.known.clone();
        state.insert("updated".into(), unix_seconds().into());
        state.extend(now.as_object().cloned().unwrap_or_default());
        let state = Value::Object(state);
        if let Some(path) = &self.metrics {
            write_atomically(path, |file| std::io::Write::write_all(file, prometheus(&state).as_bytes()))?;
        }
        write_json(&self.state, &state)
    }
}

/// Writes down how a run ended: "done", "stopped" or "failed", with the error's words.
pub(crate) fn end<T>(record: &Path, label: &str, shard: Shard, result: &anyhow::Result<T>) {
    let path = state_path(record);
    // Where all was there neither is written again, and who was killed at its very end left a draft; who makes all parts is the
    // only one at work, and sweeps for shards as well.
    if shard.is_whole() {
        sweep(&record.with_file_name(label));
    } else {
        [record, &path].into_iter().for_each(sweep);
    }
    let read = || serde_json::from_slice::<Map<String, Value>>(&fs_err::read(&path).ok()?).ok();
    let mut state = match read() {
        Some(state) => state,
        // Done without a beginning: all was there. What another run wrote down stays.
        None if result.is_ok() => return,
        None => {
            place().chain([("respondent".into(), label.into()), ("shard".into(), shard.to_string().into())]).collect()
        }
    };
    let (name, words) = match result {
        Ok(_) => ("done", Value::Null),
        Err(error) => {
            let stopped = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(alike::Error::Stopped { .. })));
            let words = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
            (if stopped { "stopped" } else { "failed" }, words.into())
        }
    };
    // A second writer that was refused says nothing about the first.
    if matches!(result, Err(error) if error.chain().any(|c| matches!(c.downcast_ref(), Some(alike::Error::Locked { .. }))))
    {
        return;
    }
    state.insert("state".into(), name.into());
    state.insert("error".into(), words);
    state.insert("updated".into(), unix_seconds().into());
    if let Err(error) = write_json(&path, &Value::Object(state)) {
        tracing::debug!("{error}");
    }
}

/// Where: host, process, Slurm's numbers.
pub(crate) fn place() -> impl Iterator<Item = (String, Value)> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    let fixed = [("host", host.ok().into()), ("pid", std::process::id().into())];
    let variables = ["SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"];
    let of_slurm =
        variables.into_iter().filter_map(|name| Some((name.to_lowercase(), std::env::var(name).ok()?.into())));
    fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(of_slurm)
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Memory of this process.
pub(crate) fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// What the system says of this process's memory under a name.
pub(crate) fn status_bytes(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Memory in use on a GPU, as NVIDIA's own tool tells it.
fn gpu_bytes(index: i32) -> Option<u64> {
    let asked = ["--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i"];
    let output = std::process::Command::new("nvidia-smi").args(asked).arg(index.to_string()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse::<u64>().ok().map(|mib| mib << 20)
}

/// The text format of Prometheus, for node_exporter's textfile collector.
fn prometheus(state: &Value) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let label = |name: &str| escaped(state[name].as_str().unwrap_or_default());
    let labels = format!("respondent=\"{}\",shard=\"{}\"", label("respondent"), label("shard"));
    let gauges = [
        ("alike_done", "done", "Presentations answered, those of earlier runs among them"),
        ("alike_total", "total", "Presentations of this shard"),
        ("alike_rate", "rate", "Presentations answered a second"),
        ("alike_eta_seconds", "eta_seconds", "Seconds to the end at this rate"),
        ("alike_resident_bytes", "resident_bytes", "Memory of the process"),
        ("alike_gpu_bytes", "gpu_bytes", "Memory in use on its GPU"),
        ("alike_updated_seconds", "updated", "Unix time of this sign of life"),
    ];
    let mut text = String::new();
    for (name, key, help) in gauges {
        if let Some(value) = state[key].as_f64() {
            text += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{{labels}}} {value}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn states_tell_how_a_run_goes_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("runs/me.shard-2-of-4.json");
        let (shard, metrics) = ("2/4".parse().unwrap(), folder.path().join("alike.prom"));
        let beat = Heartbeat::begin(&record, ("me", shard), (5, 3), None, Some(&metrics)).unwrap();
        let state = || -> Value { serde_json::from_slice(&std::fs::read(state_path(&record)).unwrap()).unwrap() };
        assert_eq!(
            (&state()["state"], &state()["parts"], &state()["shard"]),
            (&json!("running"), &json!(5), &json!("2/4"))
        );
        beat.beat(Pace { done: 30, total: 100, rate: 7.0 });
        assert_eq!((&state()["done"], &state()["eta_seconds"]), (&json!(30), &json!(10.0)));
        let text = std::fs::read_to_string(&metrics).unwrap();
        assert!(text.contains("# TYPE alike_done gauge\nalike_done{respondent=\"me\",shard=\"2/4\"} 30\n"), "{text}");
        assert!(!text.contains("alike_gpu_bytes"));
        end(&record, "me", shard, &Ok(()));
        assert_eq!((&state()["state"], &state()["done"]), (&json!("done"), &json!(30)));
        let failure: anyhow::Result<()> = Err(anyhow::anyhow!("no such place").context("writing"));
        end(&record, "me", shard, &failure);
        assert_eq!((&state()["state"], &state()["error"]), (&json!("failed"), &json!("writing: no such place")));
        end(&record, "me", shard, &Err::<(), _>(alike::Error::Locked { path: "there".into() }.into()));
        assert_eq!(state()["error"], "writing: no such place");
    }

    #[test]
    fn eta_is_unknown_at_first() {
        assert_eq!(Pace { done: 0, total: 9, rate: 0.0 }.eta_seconds(), None);
        assert!(resident_bytes().is_none_or(|bytes| bytes > 1 << 20));
    }
}
