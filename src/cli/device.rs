//! Where a model runs, as flags: the same ones wherever a model runs.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use alike::config::Model;
use alike::engine::provider::{ExecutionProvider, Gpu, Precision};
use alike::engine::session::SessionSettings;
use alike::error::Error;
use alike::model_folder::ModelFolder;
use clap::Args;

use crate::cli::Common;
use crate::cli::shard::local_gpu;

#[derive(Debug, Args)]
#[command(next_help_heading = "Where the model runs")]
pub(crate) struct DeviceArgs {
    /// Execution provider [default: the study's, or cpu]
    #[arg(long, value_parser = parse::<ExecutionProvider>, value_name = "cpu|cuda|tensorrt")]
    provider: Option<ExecutionProvider>,
    /// Index of the GPU; `auto` takes the one of the process's rank on its node, as Slurm and MPI tell it
    #[arg(long, value_name = "N|auto", value_parser = parse_device)]
    device: Option<i32>,
    /// Most of the GPU's memory to take, in GiB
    #[arg(long, value_name = "GIB")]
    gpu_memory: Option<f64>,
    /// Products in TF32 on a GPU: faster, and no longer f32
    #[arg(long)]
    tf32: bool,
    /// What TensorRT computes in
    #[arg(long, value_parser = parse::<Precision>, value_name = "fp32|fp16|bf16")]
    precision: Option<Precision>,
    /// Where TensorRT keeps its engines and timings
    #[arg(long, value_name = "DIR")]
    engine_cache: Option<PathBuf>,
    /// New tokens in one pass [default: the study's, or 1024, and 16384 on a GPU]
    #[arg(long, value_name = "N")]
    batch_tokens: Option<NonZeroUsize>,
}

pub(crate) fn parse<T: std::str::FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

pub(crate) fn parse_device(text: &str) -> Result<i32, String> {
    if text == "auto" {
        return Ok(local_gpu(|name| std::env::var(name).ok()));
    }
    text.parse().ok().filter(|index| *index >= 0).ok_or_else(|| "a number from 0, or auto".to_owned())
}

/// Where a model runs.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) provider: ExecutionProvider,
    pub(crate) gpu: Gpu,
    pub(crate) batch_tokens: Option<usize>,
}

impl Default for Device {
    fn default() -> Self {
        Self { provider: ExecutionProvider::Cpu, gpu: Gpu::default(), batch_tokens: None }
    }
}

impl Device {
    /// New tokens in one pass.
    pub(crate) fn batch_tokens(&self) -> usize {
        self.batch_tokens.unwrap_or(self.provider.batch_tokens())
    }

    /// What a study says.
    pub(crate) fn of(model: &Model) -> Self {
        Self { provider: model.provider, gpu: model.gpu.clone(), batch_tokens: model.batch_tokens }
    }
}

/// A session of a model on a device.
pub(crate) fn session_settings(folder: &ModelFolder, device: &Device, common: &Common) -> SessionSettings {
    SessionSettings {
        provider: device.provider,
        gpu: device.gpu.clone(),
        batch_tokens: device.batch_tokens(),
        threads: common.threads,
        stated: folder.stated,
        context_tokens: folder.context_tokens,
        precision: folder.precision.clone(),
        key_multiple: device.provider.key_multiple(&folder.precision),
    }
}

impl DeviceArgs {
    /// `device` with what the flags say instead.
    pub(crate) fn over(&self, device: Device) -> Device {
        Device {
            provider: self.provider.unwrap_or(device.provider),
            gpu: Gpu {
                device: self.device.unwrap_or(device.gpu.device),
                memory_gib: self.gpu_memory.or(device.gpu.memory_gib),
                tf32: self.tf32 || device.gpu.tf32,
                precision: self.precision.unwrap_or(device.gpu.precision),
                cache: self.engine_cache.clone().or(device.gpu.cache),
            },
            batch_tokens: self.batch_tokens.map(NonZeroUsize::get).or(device.batch_tokens),
        }
    }
}
