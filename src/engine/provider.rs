//! The ONNX Runtime library and its execution providers.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::ep::{self, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::prompts::plan::Resources;

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionProvider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU through CUDA.
    Cuda,
    /// An NVIDIA GPU through TensorRT.
    TensorRt,
}

/// How a GPU is used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// Its index.
    pub device: i32,
    /// Most that the runtime's arena may take, in GiB; all there is unless set.
    pub memory_gib: Option<f64>,
    /// Products in TF32, which keeps 10 bits of mantissa: several times faster, and no longer f32.
    pub tf32: bool,
    /// What TensorRT computes in.
    pub precision: Precision,
    /// Where TensorRT keeps engines and timings, which take minutes to make.
    pub cache: Option<PathBuf>,
}

/// What TensorRT computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    Fp32,
    /// 16 bits, 10 of mantissa, up to 65,504: some models overflow.
    Fp16,
    /// 16 bits, 7 of mantissa, the range of 32.
    Bf16,
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fp32" => Ok(Self::Fp32),
            "fp16" => Ok(Self::Fp16),
            "bf16" => Ok(Self::Bf16),
            _ => Err(Error::Setting {
                field: "precision".into(),
                found: text.into(),
                expected: "fp32, fp16 or bf16".into(),
            }),
        }
    }
}

impl Gpu {
    /// The options that the numbers depend on, for the fingerprint.
    pub fn numeric(&self, provider: ExecutionProvider) -> String {
        match provider {
            ExecutionProvider::Cpu => String::new(),
            ExecutionProvider::Cuda => format!("tf32={}", self.tf32),
            ExecutionProvider::TensorRt => format!("tf32={} precision={:?}", self.tf32, self.precision),
        }
    }

    fn cuda(&self) -> ExecutionProviderDispatch {
        let mut cuda = ep::CUDA::default().with_device_id(self.device).with_tf32(self.tf32);
        if let Some(gib) = self.memory_gib {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a size in bytes, checked to be positive"
            )]
            let bytes = (gib * f64::from(1 << 30)) as usize;
            // Doubling, the runtime's habit, would ask for twice what is needed and fail near the limit.
            cuda = cuda.with_memory_limit(bytes).with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested);
        }
        cuda.build().error_on_failure()
    }

    fn tensorrt(&self, shapes: &Shapes) -> ExecutionProviderDispatch {
        let mut tensorrt = ep::TensorRT::default()
            .with_device_id(self.device)
            .with_fp16(self.precision == Precision::Fp16)
            .with_bf16(self.precision == Precision::Bf16)
            .with_layer_norm_fp32_fallback(true)
            .with_profile_min_shapes(&shapes.least)
            .with_profile_opt_shapes(&shapes.usual)
            .with_profile_max_shapes(&shapes.most);
        if let Some(folder) = &self.cache {
            tensorrt = tensorrt
                .with_engine_cache(true)
                .with_engine_cache_path(folder.display())
                .with_timing_cache(true)
                .with_timing_cache_path(folder.display());
        }
        tensorrt.build().error_on_failure()
    }
}

/// Shapes of all inputs, as TensorRT wants to know them before it builds an engine: `name:2x3,other:4x5`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Shapes {
    pub(crate) least: String,
    pub(crate) usual: String,
    pub(crate) most: String,
}

impl ExecutionProvider {
    pub(crate) fn dispatch(self, gpu: &Gpu, shapes: &Shapes) -> Vec<ExecutionProviderDispatch> {
        // A provider that does not start is an error: the runtime's own habit is to go on with the CPU in silence.
        match self {
            Self::Cpu => vec![ep::CPU::default().build().error_on_failure()],
            Self::Cuda => vec![gpu.cuda()],
            // What TensorRT does not know goes to CUDA.
            Self::TensorRt => vec![gpu.tensorrt(shapes), gpu.cuda()],
        }
    }
}

impl ExecutionProvider {
    /// What it holds, and what a pass costs there.
    pub fn resources(self) -> Resources {
        match self {
            Self::Cpu => Resources::CPU,
            Self::Cuda | Self::TensorRt => Resources::GPU,
        }
    }

    /// New tokens in one pass, unless something else is asked for.
    ///
    /// On the CPU, passes of 544 and 1,088 tokens ran at 616 and 642 tokens/s with SmolLM2-135M on two cores: wider ones
    /// gain little there and cost memory. On an H100, passes of 4,104, 16,378 and 65,531 tokens ran at 196,000, 283,000 and
    /// 326,000 tokens/s; the widest want 8 GB for their logits.
    pub fn batch_tokens(self) -> usize {
        match self {
            Self::Cpu => 1024,
            Self::Cuda | Self::TensorRt => 16_384,
        }
    }

    /// What the number of keys should be a multiple of. On a GPU the runtime's memory-efficient attention takes masks of such
    /// widths only (four times the bytes of a number); for others it has a chain of kernels: a pass of 27,000 tokens of
    /// SmolLM2-135M in fp16 took 65 ms instead of 43.
    pub fn key_multiple(self, precision: &str) -> usize {
        match (self, precision) {
            (Self::Cpu, _) => 1,
            (_, "fp16" | "bf16") => 8,
            _ => 16,
        }
    }

    /// Judgments in one part, unless something else is asked for.
    ///
    /// Prefixes are shared within a part: of 35,000 random triplets of the 128 concepts, parts of 1,024, 2,048 and 4,096
    /// compute 1.04, 1.02 and 1.01 tokens for each distinct one. A part is what an interruption costs: over a minute on two
    /// cores. On a GPU a part also has to fill its passes, of which each shape wants its own; of all 1,024,128 triplets parts
    /// of 16,384, 65,536 and 131,072 compute 21.6, 20.5 and 19.7 tokens a triplet.
    pub fn part_rows(self) -> usize {
        match self {
            Self::Cpu => 2048,
            Self::Cuda | Self::TensorRt => 65_536,
        }
    }
}

impl std::fmt::Display for ExecutionProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        })
    }
}

impl FromStr for ExecutionProvider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "tensorrt" => Ok(Self::TensorRt),
            _ => Err(Error::Setting {
                field: "provider".into(),
                found: text.into(),
                expected: "cpu, cuda or tensorrt".into(),
            }),
        }
    }
}

/// The loaded runtime: one library for the life of the process.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) environment: Environment,
    path: PathBuf,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

impl Runtime {
    /// Loads the library at `path`, or else the one that [`Runtime::find`] finds. A second call gives the loaded one.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none, [`Error::RuntimeLibrary`] when it is too old, broken or for another machine.
    pub fn load(path: Option<&Path>) -> Result<&'static Self> {
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        let path = match path {
            Some(path) if path.is_file() => path.to_owned(),
            Some(path) => return Err(missing(path.into())),
            None => Self::find()?,
        };
        let fail = |reason: String| Error::RuntimeLibrary { path: path.clone(), reason };
        if let Some(reason) = unusable(&path)? {
            return Err(fail(reason));
        }
        // Never the lazy way: it panics when the library cannot be loaded.
        let builder = ort::init_from(&path).map_err(|e| fail(load_error(&e)))?;
        let environment = builder.with_name("alike").with_telemetry(false).build().map_err(|e| fail(e.to_string()))?;
        environment.set_log_level(LogLevel::Error);
        Ok(RUNTIME.get_or_init(|| Self { environment, path }))
    }

    /// The library beside the program (in its own folder or in `lib/` beside that), or where `make setup` puts it:
    /// `.env/runtime/` of the project that the program was built in.
    ///
    /// # Errors
    /// [`Error::Missing`] with the place it would have to be.
    pub fn find() -> Result<PathBuf> {
        let program = std::env::current_exe()?;
        let program = program.canonicalize().unwrap_or(program);
        let folders: Vec<&Path> = program.ancestors().skip(1).collect();
        let beside =
            folders.first().map(|own| own.to_path_buf()).into_iter().chain(folders.get(1).map(|up| up.join("lib")));
        let project = folders.iter().map(|folder| folder.join(".env/runtime"));
        let places = beside.chain(project);
        places
            .into_iter()
            .find_map(|place| library_in(&place))
            .ok_or_else(|| missing(folders.first().unwrap_or(&Path::new(".")).join(LIBRARY)))
    }

    /// The library file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Version and build, as the library tells them.
    pub fn version(&self) -> String {
        let info = ort::info();
        // Nothing in the API tells the version alone; wheels carry it in the file name.
        let name = self.path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let version = name.strip_prefix("libonnxruntime.so.").unwrap_or("");
        let commit = info.split("git-commit-id=").nth(1).and_then(|t| t.split(',').next()).unwrap_or("unknown");
        format!("{version} ({commit})").trim().to_owned()
    }
}

/// Why a library was not loaded: its version, or the dynamic linker's own words.
fn load_error(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            format!("it is version {version_str}, and at least 1.{} is needed", ort::MINOR_VERSION)
        }
        ort::LoadDynamicError::Dlopen { error, .. } => {
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
        }
        other => other.to_string(),
    }
}

/// What is wrong with a library before it is loaded. For one of another architecture the dynamic linker would only say that
/// there is no such file.
fn unusable(path: &Path) -> Result<Option<String>> {
    let mut header = [0; 20];
    let mut file = fs_err::File::open(path)?;
    if file.read_exact(&mut header).is_err() || header[..4] != *b"\x7fELF" {
        return Ok(cfg!(target_os = "linux").then(|| "it is not a shared library".into()));
    }
    // `e_machine` of the ELF header.
    let machine = match u16::from_le_bytes([header[18], header[19]]) {
        62 => "x86_64",
        183 => "aarch64",
        _ => "another architecture",
    };
    let ours = std::env::consts::ARCH;
    Ok((machine != ours).then(|| format!("it is built for {machine}, and this machine is {ours}")))
}

const LIBRARY: &str = "libonnxruntime.so";

fn missing(path: PathBuf) -> Error {
    Error::Missing {
        what: "the ONNX Runtime library",
        path,
        hint: "run `make setup`, which takes ONNX Runtime 1.31 from PyPI's wheel, leave `lib` of a bundle beside its `bin`, or \
               give a library with --ort PATH"
            .into(),
    }
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(LIBRARY)))
        .collect();
    found.sort();
    found.pop()
}

/// The runtime's refusal in our words and its own.
pub(crate) fn runtime_error(doing: &str, error: &ort::Error) -> Error {
    let message = error.message().trim().to_owned();
    let lower = message.to_lowercase();
    let out_of_memory = ["out of memory", "failed to allocate", "bad_alloc"].iter().any(|sign| lower.contains(sign));
    Error::Runtime { doing: doing.to_owned(), message, out_of_memory }
}
