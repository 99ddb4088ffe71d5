//! Which share of the work a process takes.

use std::ops::Range;
use std::str::FromStr;

use alike::error::Error;

/// A process's share: the `index`-th of `of`, counted from 1.
///
/// Work is cut between parts, never within one: the parts of N shards are those of an unbroken run, byte for byte, whatever N is,
/// and N may be another after an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    /// All of it.
    pub(crate) const WHOLE: Self = Self { index: 1, of: 1 };

    /// Whether this is all of the work.
    pub(crate) fn is_whole(self) -> bool {
        self.of == 1
    }

    /// What tells its files from other shards': nothing for the whole.
    pub(crate) fn suffix(self) -> String {
        if self.is_whole() { String::new() } else { format!(".shard-{}-of-{}", self.index, self.of) }
    }

    /// The shard's parts: consecutive ones, so that what their prompts share stays together. All parts but the last have the same
    /// number of presentations, so that no two shards differ by more than one part.
    pub(crate) fn parts(self, n_parts: usize) -> Range<usize> {
        n_parts * (self.index - 1) / self.of..n_parts * self.index / self.of
    }

    /// What the batch system says through variables of its tasks: the place in a job array and, within a step of several tasks,
    /// the task's.
    fn of_slurm(variable: impl Fn(&str) -> Option<String>) -> alike::Result<Self> {
        let number = |name: &str| -> alike::Result<Option<usize>> {
            let parse = |text: String| {
                let found = format!("slurm, where {name} is {text:?}");
                text.parse().map_err(|_| shard_error(found, "a number in that variable"))
            };
            variable(name).map(parse).transpose()
        };
        let array = match number("SLURM_ARRAY_TASK_ID")? {
            None => None,
            Some(id) => {
                let needed = |name: &str| {
                    number(name)?.ok_or_else(|| shard_error(format!("slurm, without {name}"), "Slurm's own variables"))
                };
                let (min, max) = (needed("SLURM_ARRAY_TASK_MIN")?, needed("SLURM_ARRAY_TASK_MAX")?);
                let (count, step) =
                    (needed("SLURM_ARRAY_TASK_COUNT")?, number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1));
                let place = id.saturating_sub(min) / step;
                if (max - min) / step + 1 != count || place >= count {
                    let found = format!("slurm, in an array of {count} tasks from {min} to {max} with step {step}");
                    return Err(shard_error(found, "a whole array, or I/N for the tasks of a part of one"));
                }
                Some(Self { index: place + 1, of: count })
            }
        };
        // Set by srun for the tasks of a step, not for the batch script, whose SLURM_NTASKS is that of the allocation.
        let step = match number("SLURM_STEP_NUM_TASKS")? {
            Some(n) if n > 1 => {
                let rank = number("SLURM_PROCID")?.filter(|rank| *rank < n);
                let rank =
                    rank.ok_or_else(|| shard_error("slurm, without SLURM_PROCID".into(), "Slurm's own variables"))?;
                Some(Self { index: rank + 1, of: n })
            }
            _ => None,
        };
        match (array, step) {
            (None, None) => {
                Err(shard_error("slurm, outside a job array".into(), "I/N, or slurm within an array or srun"))
            }
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (Some(array), Some(step)) => {
                Ok(Self { index: (array.index - 1) * step.of + step.index, of: array.of * step.of })
            }
        }
    }
}

fn shard_error(found: String, expected: &str) -> Error {
    Error::Setting { field: "shard".into(), found, expected: expected.into() }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "slurm" {
            return Self::of_slurm(|name| std::env::var(name).ok());
        }
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err(shard_error(format!("{text:?}"), "I/N with I from 1 to N, or slurm")),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Index of the GPU for this process among those of its node: its rank there, among the devices it may see.
pub(crate) fn local_gpu(variable: impl Fn(&str) -> Option<String>) -> i32 {
    let ranks = ["SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "LOCAL_RANK"];
    let rank: i32 = ranks.iter().find_map(|name| variable(name)?.parse().ok()).unwrap_or(0);
    let visible =
        variable("CUDA_VISIBLE_DEVICES").map(|list| list.split(',').filter(|id| !id.trim().is_empty()).count());
    match visible.and_then(|n| i32::try_from(n).ok()) {
        Some(n) if n > 0 => rank % n,
        _ => rank,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slurm(variables: &[(&str, &str)]) -> Result<Shard, String> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Shard::of_slurm(find).map_err(|e| e.to_string())
    }

    #[test]
    fn shards_are_all_parts_once_and_even() {
        for (n_parts, of) in [(17, 8), (3, 8), (8, 8), (500, 64), (1, 1)] {
            let ranges: Vec<Range<usize>> = (1..=of).map(|index| Shard { index, of }.parts(n_parts)).collect();
            assert_eq!(ranges.iter().cloned().flatten().collect::<Vec<_>>(), (0..n_parts).collect::<Vec<_>>());
            let sizes = ranges.iter().map(ExactSizeIterator::len);
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }

    #[test]
    fn shards_are_written_i_of_n() {
        assert_eq!("3/8".parse::<Shard>().unwrap(), Shard { index: 3, of: 8 });
        for bad in ["0/8", "9/8", "8", "a/b", "1/0", "-1/2", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn slurm_tells_the_place_in_an_array() {
        let array = |id, min, max, count| {
            [
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_MIN", min),
                ("SLURM_ARRAY_TASK_MAX", max),
                ("SLURM_ARRAY_TASK_COUNT", count),
            ]
        };
        assert_eq!(slurm(&array("7", "5", "12", "8")).unwrap(), Shard { index: 3, of: 8 });
        let stepped = [&array("4", "0", "6", "4")[..], &[("SLURM_ARRAY_TASK_STEP", "2")]].concat();
        assert_eq!(slurm(&stepped).unwrap(), Shard { index: 3, of: 4 });
        let both = [&array("1", "0", "1", "2")[..], &[("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "2")]].concat();
        assert_eq!(slurm(&both).unwrap(), Shard { index: 7, of: 8 });
        // Tasks 3 and 7 of an array, sent again, are not the two halves of the work.
        assert!(slurm(&array("7", "3", "7", "2")).unwrap_err().contains("a whole array"));
        assert!(slurm(&[("SLURM_NTASKS", "4")]).unwrap_err().contains("outside a job array"));
        assert!(slurm(&array("x", "0", "1", "2")).unwrap_err().contains("SLURM_ARRAY_TASK_ID"));
    }

    #[test]
    fn a_process_takes_the_gpu_of_its_rank() {
        let gpu = |variables: &[(&str, &str)]| {
            local_gpu(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(gpu(&[]), 0);
        assert_eq!(gpu(&[("SLURM_LOCALID", "3")]), 3);
        assert_eq!(gpu(&[("SLURM_LOCALID", "3"), ("CUDA_VISIBLE_DEVICES", "5")]), 0);
        assert_eq!(gpu(&[("OMPI_COMM_WORLD_LOCAL_RANK", "2"), ("CUDA_VISIBLE_DEVICES", "4,5,6,7")]), 2);
    }
}
