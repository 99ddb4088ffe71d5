//! What identifies the machine, and the models that are measured on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use alike::bench::{Machine, ModelRecord};
use alike::engine::graph_file::GraphPorts;
use alike::error::Error;
use alike::model_folder::ModelFolder;

use crate::cli::bench::meters::Energy;

/// Reads what the machine says of itself; what it does not say is left open.
pub(crate) fn machine(runtime: String) -> Machine {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let value_of = |text: Option<String>, name: &str, between: char| {
        let found = text?.lines().find_map(|line| {
            let (key, value) = line.split_once(between)?;
            (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
        });
        found.filter(|value| !value.is_empty())
    };
    let memory = value_of(text("/proc/meminfo"), "MemTotal", ':');
    let kib = |text: String| text.strip_suffix(" kB")?.trim().parse::<u64>().ok();
    Machine {
        cpu: value_of(text("/proc/cpuinfo"), "model name", ':'),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: memory.and_then(kib).map(|kib| kib << 10),
        os: value_of(text("/etc/os-release"), "PRETTY_NAME", '='),
        kernel: text("/proc/sys/kernel/osrelease").map(|release| release.trim().to_owned()),
        gpus: gpus(),
        runtime,
        energy: Energy::describe(),
    }
}

/// Name, driver and memory of each GPU, as NVIDIA's own tool tells them; none without it.
fn gpus() -> Vec<String> {
    let asked = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"];
    let said = Command::new("nvidia-smi").args(asked).output().ok().filter(|said| said.status.success());
    let text = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// A model folder under the name that its cells carry.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    folder: ModelFolder,
}

/// Opens the folders.
///
/// # Errors
/// Two of one name; an encoder, which has neither prefixes to share nor log-probabilities to compare.
pub(crate) fn folders(paths: &[PathBuf]) -> anyhow::Result<Vec<Folder>> {
    let mut folders: Vec<Folder> = Vec::new();
    for path in paths {
        let folder = ModelFolder::open(path)?;
        let wrong = |found: String, expected: &str| Error::Setting {
            field: "model".into(),
            found,
            expected: expected.to_owned(),
        };
        if folder.encoder()?.is_some() {
            let found = format!("{}, a sentence encoder", path.display());
            let expected = "language models: an encoder reads each concept once, and `alike judge` tells its seconds";
            return Err(wrong(found, expected).into());
        }
        let name = name_of(path);
        if name.contains('/') || folders.iter().any(|other| other.name == name) {
            let found = format!("{}, of the name {name:?} that another has", path.display());
            return Err(wrong(found, "folders whose names differ").into());
        }
        folders.push(Folder { name, path: path.clone(), folder });
    }
    Ok(folders)
}

/// The folder's own name; of a graph that is named itself, with the graph's.
fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let last = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match path.is_file() {
        true => format!("{}:{}", path.parent().map(last).unwrap_or_default(), last(&path)),
        false => last(&path),
    }
}

impl Folder {
    /// Precision that it states.
    pub(crate) fn precision(&self) -> &str {
        &self.folder.precision
    }

    /// What goes into the record; reads all of its files.
    pub(crate) fn record(&self) -> anyhow::Result<ModelRecord> {
        let graph = &self.folder.graph;
        let mut weight_bytes = fs_err::metadata(graph)?.len();
        for file in GraphPorts::read(graph)?.weights(graph)? {
            weight_bytes += fs_err::metadata(file)?.len();
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of operations are whole")]
        let whole = |flops: f64| flops as u64;
        Ok(ModelRecord {
            name: self.name.clone(),
            precision: self.precision().to_owned(),
            digests: self.folder.digests()?,
            weight_bytes,
            flops_per_token: self.folder.flops.map(|flops| whole(flops.per_token)),
            flops_per_scored: self.folder.flops.map(|flops| whole(flops.per_scored)),
        })
    }
}
