//! What can go wrong, in words that name the file, the field, what was found and what was expected.

use std::path::PathBuf;

/// The result type of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that stops a stage. The message says what and where; [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused; the message carries the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// A needed file or folder is not there.
    #[error("{what} is missing: {}", path.display())]
    Missing {
        /// What the file is for.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// How to get it.
        hint: String,
    },

    /// A file is there and cannot be read as what it should be.
    #[error("{}: {found}, expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found in it.
        found: String,
        /// What it should be.
        expected: String,
    },

    /// One cell of a table is wrong.
    #[error("{}, row {row}, column `{column}`: found {found}, expected {expected}", path.display())]
    Cell {
        /// The table.
        path: PathBuf,
        /// Row of the file, the header being row 1.
        row: usize,
        /// Name of the column.
        column: String,
        /// What the cell holds.
        found: String,
        /// What it should hold.
        expected: String,
    },

    /// A setting of the study, a flag or a function has a value it cannot have.
    #[error("`{field}` is {found}, expected {expected}")]
    Setting {
        /// Name of the setting as the user writes it.
        field: String,
        /// Its value.
        found: String,
        /// The values it can have.
        expected: String,
    },

    /// An entry of a list says what does not hold.
    #[error("{}: `{field}` of {entry} is {found}, expected {expected}", path.display())]
    Entry {
        /// The list.
        path: PathBuf,
        /// Name of the entry.
        entry: String,
        /// The field.
        field: &'static str,
        /// What it says.
        found: String,
        /// What holds.
        expected: String,
    },

    /// A TOML file has a key that nobody reads.
    #[error("{}: unknown key `{key}`{}", path.display(), line.map(|l| format!(" on line {l}")).unwrap_or_default())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as written.
        key: String,
        /// Line of the file.
        line: Option<usize>,
        /// The known key that is spelled most alike.
        nearest: Option<String>,
    },

    /// Concepts have no counterpart, or several, in a reference.
    #[error("{}: no single row for {}", path.display(), names.join(", "))]
    Unmatched {
        /// The reference.
        path: PathBuf,
        /// Each concept with the candidates found for it.
        names: Vec<String>,
    },

    /// The ONNX Runtime library could not be used.
    #[error("cannot use the ONNX Runtime library {}: {reason}", path.display())]
    RuntimeLibrary {
        /// The library file.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },

    /// ONNX Runtime refused an operation.
    #[error("ONNX Runtime failed while {doing}: {message}")]
    Runtime {
        /// What was being done.
        doing: String,
        /// The runtime's own words.
        message: String,
        /// Whether it ran out of memory.
        out_of_memory: bool,
    },

    /// An input or output of the graph is not what the engine needs.
    #[error("{}: model {side} `{name}` is {found}, expected {expected}", path.display())]
    Signature {
        /// The graph.
        path: PathBuf,
        /// "input" or "output".
        side: &'static str,
        /// Its name.
        name: String,
        /// Type and shape found, or "missing".
        found: String,
        /// Type and shape the engine needs.
        expected: String,
    },

    /// The chat template failed or said that it cannot render these messages.
    #[error("chat template of {}: {message}", path.display())]
    Template {
        /// The file that holds the template.
        path: PathBuf,
        /// What the template or its engine said.
        message: String,
    },

    /// The tokenizer failed or does not fit the model.
    #[error("tokenizer {}: {message}", path.display())]
    Tokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },

    /// A request to be scored cannot be read, or does not hold what it should.
    #[error("{place}: {what} is {found}, expected {expected}")]
    Request {
        /// File, line or row, and id.
        place: String,
        /// The field, or the whole line.
        what: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },

    /// Prompt and option cannot be told apart after tokenisation.
    #[error("option {option:?} has no tokens of its own after {prompt_end:?}")]
    EmptyOption {
        /// The option.
        option: String,
        /// The last characters of the prompt.
        prompt_end: String,
    },

    /// A prompt with its options is longer than the model's context.
    #[error("{what} needs {needed} tokens and the model's context holds {available}")]
    ContextLength {
        /// Which presentation.
        what: String,
        /// Tokens of prompt and longest option.
        needed: usize,
        /// Tokens that fit.
        available: usize,
    },

    /// A model returned NaN or infinite log-probabilities.
    #[error(
        "the model returned {value} as log-probability ({provider}, {precision}); first bad presentation: {presentation}"
    )]
    NotFiniteLogProb {
        /// NaN, inf or -inf.
        value: f32,
        /// Execution provider.
        provider: String,
        /// Precision of the export.
        precision: String,
        /// Anchor, first and second.
        presentation: String,
    },

    /// Output made from other inputs is in the way.
    #[error("{} was made with another `{field}`: {found}, this run has {expected}", path.display())]
    Fingerprint {
        /// The file in the way.
        path: PathBuf,
        /// The field that differs.
        field: String,
        /// Value recorded in the file.
        found: String,
        /// Value of this run.
        expected: String,
    },

    /// Output is in the way and nobody said to go on or to replace it.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file or folder in the way.
        path: PathBuf,
    },

    /// Another process writes the same output.
    #[error("{} is being written by another alike process", path.display())]
    Locked {
        /// The output folder.
        path: PathBuf,
    },

    /// Somebody asked for a stop before all parts were made.
    #[error("stopped: {done} of {of} parts of {what} are done")]
    Stopped {
        /// Whose parts.
        what: String,
        /// Those that are done.
        done: usize,
        /// All of this process.
        of: usize,
    },

    /// Judgments that should be whole are not.
    #[error("{} is not whole: {fault}{}", path.display(), if *more > 0 { format!(" (and {more} more)") } else { String::new() })]
    Incomplete {
        /// The respondent's folder.
        path: PathBuf,
        /// The first fault.
        fault: String,
        /// Further faults.
        more: usize,
    },

    /// Two matrices or tables that belong together differ in shape.
    #[error("{what}: found {found}, expected {expected}")]
    ShapeMismatch {
        /// What was compared.
        what: String,
        /// Shape found.
        found: String,
        /// Shape expected.
        expected: String,
    },

    /// Too few rows, concepts or judgments for what was asked.
    #[error("{what}: {found}, at least {needed} needed")]
    TooFew {
        /// What is counted.
        what: String,
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },

    /// A number that must be finite is not.
    #[error("{what} holds NaN or infinity")]
    NotFinite {
        /// Where.
        what: String,
    },
}

impl Error {
    /// What the user can do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io(error) => match error.kind() {
                std::io::ErrorKind::StorageFull => {
                    "free some space and start the same command again with --resume: finished parts are valid and are kept"
                }
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    "choose another place with --out, or change the folder's permissions"
                }
                _ => return None,
            },
            Self::Missing { hint, .. } => return Some(hint.clone()),
            Self::Format { .. } => {
                "restore or delete the file and make it again; if alike wrote it, the same command with --resume replaces only what is damaged"
            }
            Self::UnknownKey { nearest: Some(nearest), .. } => return Some(format!("did you mean `{nearest}`?")),
            Self::Unmatched { .. } => {
                "name the row with --map concept=row (or `map` under [align]), or pass --allow-missing to leave such concepts out"
            }
            Self::RuntimeLibrary { .. } => {
                "run `make setup`, which takes ONNX Runtime 1.31 from PyPI's wheel, or give another library with --ort PATH"
            }
            Self::Runtime { out_of_memory: true, .. } => "lower --batch-tokens",
            Self::Signature { .. } => {
                "run `alike check --model DIR` to list what the graph accepts, or export it again"
            }
            Self::Template { .. } => "try --style base or --style plain, or mend the template",
            Self::Tokenizer { .. } => "take tokenizer.json from the same place as the weights",
            Self::EmptyOption { .. } => "choose another prompt style or wording so that the option starts a new token",
            Self::ContextLength { .. } => {
                "shorten the text: the wording or the concept names of a study, the prompt or the choices of a request"
            }
            Self::NotFiniteLogProb { .. } => "half precision overflows in some models: export it as fp32 or bf16",
            Self::Fingerprint { .. } | Self::Exists { .. } => {
                "write elsewhere with --out, replace it with --force, or go on with --resume where the command has that and nothing changed"
            }
            Self::Locked { .. } => "wait for it to end, or stop it",
            Self::Incomplete { .. } => {
                "`alike validate` lists what is wrong; the command that made it, with --resume, makes what is missing or damaged"
            }
            Self::Stopped { .. } => "start the same command again with --resume: finished parts are valid and are kept",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
