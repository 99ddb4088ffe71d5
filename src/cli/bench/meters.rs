//! What a process reads about itself and its machine: memory, processor time, energy, the GPU.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::heartbeat::status_bytes;

/// Seconds since 1970.
pub(crate) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Most memory that this process has held.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// The clock that Linux counts processor time in, the same on every architecture it runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of all threads of this process so far.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th fields after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The machine's load average over a minute.
pub(crate) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Counters of the energy that processors took, one for each package, in microjoules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Energy {
    /// Place, reading, and where the counter begins again.
    packages: Vec<(PathBuf, u64, u64)>,
}

const POWERCAP: &str = "/sys/class/powercap";

impl Energy {
    /// Reads the counters; none where there are none that this user may read.
    pub(crate) fn read() -> Option<Self> {
        Self::read_in(Path::new(POWERCAP))
    }

    fn read_in(folder: &Path) -> Option<Self> {
        let number = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let mut packages = Vec::new();
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            let place = entry.path();
            // `intel-rapl:0` is a package, also of AMD's; `intel-rapl:0:0` is a part of it.
            let name = entry.file_name();
            let is_package =
                name.to_str().and_then(|n| n.strip_prefix("intel-rapl:")).is_some_and(|n| !n.contains(':'));
            if is_package {
                packages.push((
                    place.clone(),
                    number(place.join("energy_uj"))?,
                    number(place.join("max_energy_range_uj"))?,
                ));
            }
        }
        packages.sort();
        (!packages.is_empty()).then_some(Self { packages })
    }

    /// Joules since an earlier reading; none where other packages were read.
    pub(crate) fn since(&self, earlier: &Self) -> Option<f64> {
        let mut microjoules = 0;
        for ((place, now, range), (before_place, before, _)) in self.packages.iter().zip(&earlier.packages) {
            if place != before_place {
                return None;
            }
            microjoules += if now >= before { now - before } else { range - before + now };
        }
        (self.packages.len() == earlier.packages.len()).then_some(microjoules as f64 / 1e6)
    }

    /// Where energy is read from, or why there is none.
    pub(crate) fn describe() -> String {
        match Self::read() {
            Some(energy) => format!(
                "processors: {} package(s) of {POWERCAP}, everything on them; GPUs: power draw by nvidia-smi",
                energy.packages.len()
            ),
            None => format!(
                "processors: null, as {POWERCAP} has no counter that may be read; GPUs: power draw by nvidia-smi"
            ),
        }
    }
}

/// Readings of a GPU while something ran on it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Readings {
    /// Most memory in use.
    pub(crate) most_bytes: Option<u64>,
    /// Mean power draw.
    pub(crate) mean_watts: Option<f64>,
}

/// NVIDIA's own tool, reading memory and power every fifth of a second.
pub(crate) struct GpuWatch {
    tool: Child,
    reader: std::thread::JoinHandle<Readings>,
}

impl GpuWatch {
    /// Begins; nothing where the tool is not there.
    pub(crate) fn start(index: i32) -> Option<Self> {
        let mut tool = Command::new("nvidia-smi")
            .args(["--query-gpu=memory.used,power.draw", "--format=csv,noheader,nounits", "-lms", "200", "-i"])
            .arg(index.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let output = BufReader::new(tool.stdout.take()?);
        let reader = std::thread::spawn(move || summed_up(output.lines().map_while(Result::ok)));
        Some(Self { tool, reader })
    }

    /// Ends, and says what was read.
    pub(crate) fn stop(mut self) -> Readings {
        // It may have ended by itself, without a GPU.
        let _ = self.tool.kill();
        let _ = self.tool.wait();
        self.reader.join().unwrap_or_default()
    }
}

/// Lines of megabytes and watts.
fn summed_up(lines: impl Iterator<Item = String>) -> Readings {
    let (mut most, mut watts) = (None, Vec::new());
    for line in lines {
        let mut fields = line.split(',').map(str::trim);
        most = most.max(fields.next().and_then(|mib| mib.parse::<u64>().ok()).map(|mib| mib << 20));
        watts.extend(fields.next().and_then(|watts| watts.parse::<f64>().ok()));
    }
    let mean = (!watts.is_empty()).then(|| alike::stats::mean(&watts));
    Readings { most_bytes: most, mean_watts: mean }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_reads_itself() {
        assert!(peak_rss_bytes().is_none_or(|bytes| bytes > 1 << 20));
        assert!(cpu_seconds().is_none_or(|seconds| (0.0..1e6).contains(&seconds)));
        assert!(load_average().is_none_or(|load| load >= 0.0));
    }

    #[test]
    fn energy_counters_begin_again_and_parts_are_not_counted_twice() {
        let folder = tempfile::tempdir().unwrap();
        let write = |package: &str, energy: u64| {
            let place = folder.path().join(package);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("energy_uj"), format!("{energy}\n")).unwrap();
            std::fs::write(place.join("max_energy_range_uj"), "10000000\n").unwrap();
        };
        assert_eq!(Energy::read_in(folder.path()), None);
        for package in ["intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0", "intel-rapl"] {
            write(package, 9_000_000);
        }
        let before = Energy::read_in(folder.path()).unwrap();
        write("intel-rapl:0", 9_500_000);
        write("intel-rapl:1", 1_000_000);
        let after = Energy::read_in(folder.path()).unwrap();
        assert_eq!(after.since(&before), Some(0.5 + 2.0));
        write("intel-rapl:2", 0);
        assert_eq!(Energy::read_in(folder.path()).unwrap().since(&before), None);
        std::fs::write(folder.path().join("intel-rapl:2/energy_uj"), "?").unwrap();
        assert_eq!(Energy::read_in(folder.path()), None);
    }

    #[test]
    fn gpu_readings_are_summed_up_and_what_is_not_told_is_left_out() {
        let lines = ["1024, 100.0", "2048, 300.0", "1500, [N/A]", "garbage"].map(str::to_owned);
        let readings = summed_up(lines.into_iter());
        assert_eq!(readings, Readings { most_bytes: Some(2 << 30), mean_watts: Some(200.0) });
        assert_eq!(summed_up(std::iter::empty()), Readings::default());
    }
}
