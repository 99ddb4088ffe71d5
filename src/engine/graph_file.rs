//! What an ONNX file says about its graph, read without the runtime: inputs, outputs, operators, files of weights.
//!
//! Only these few fields of the protobuf message are looked at; everything else, weights above all, is skipped unread.
//! Field numbers: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Seek};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// Element types that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// Truth value.
    Bool,
    /// Any other type.
    Other,
}

/// A named input or output; -1 stands for a dimension that is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub element: Element,
    /// The type as the runtime prints it, for messages.
    pub type_name: String,
    /// Its shape.
    pub shape: Vec<i64>,
}

impl Port {
    /// Type and shape, for messages.
    pub(crate) fn described(&self) -> String {
        let dims: Vec<String> = self.shape.iter().map(|d| if *d < 0 { "?".into() } else { d.to_string() }).collect();
        format!("{} [{}]", self.type_name, dims.join(", "))
    }
}

/// Inputs and outputs of a graph, the operators in it, and where its weights are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphPorts {
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// Types of its nodes.
    pub operators: BTreeSet<String>,
    /// Files that hold initializers, by paths relative to the graph's folder.
    pub external_data: BTreeSet<String>,
}

impl GraphPorts {
    /// Reads an ONNX file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a file that is no ONNX model or ends early.
    pub fn read(path: &Path) -> Result<Self> {
        let file = fs_err::File::open(path)?;
        let len = file.metadata()?.len();
        let mut ports = Self::default();
        let read = Message { source: &mut BufReader::new(file), left: len }.each(&mut |field, model| match field {
            7 => model.message(&mut |field, graph| ports.read_graph(field, graph)),
            _ => Ok(false),
        });
        let problem = match read {
            Ok(()) if !ports.inputs.is_empty() => return Ok(ports),
            Ok(()) => "no graph with inputs".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::Format { path: path.into(), found: problem, expected: "an ONNX model".into() })
    }

    /// The files that hold weights beside the graph at `path`.
    ///
    /// # Errors
    /// [`Error::Format`] for a file outside the graph's folder, [`Error::Missing`] for one that is not there.
    pub fn weights(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let file = |name: &String| {
            if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
                let expected = "weights in the graph's own folder".into();
                return Err(Error::Format { path: path.into(), found: format!("weights in {name:?}"), expected });
            }
            let file = path.with_file_name(name);
            if !file.is_file() {
                let hint = format!("{} keeps its weights there; copy both", path.display());
                return Err(Error::Missing { what: "the model's weights file", path: file, hint });
            }
            Ok(file)
        };
        self.external_data.iter().map(file).collect()
    }

    fn read_graph(&mut self, field: u64, graph: &mut Message<'_>) -> std::io::Result<bool> {
        match field {
            1 => graph.message(&mut |field, node| {
                if field == 4 {
                    self.operators.insert(node.text()?);
                }
                Ok(field == 4)
            }),
            5 => graph.message(&mut |field, tensor| {
                if field != 13 {
                    return Ok(false);
                }
                let (mut is_location, mut value) = (false, String::new());
                let read = tensor.message(&mut |field, entry| match field {
                    1 => entry.text().map(|key| is_location = key == "location").map(|()| true),
                    2 => entry.text().map(|text| value = text).map(|()| true),
                    _ => Ok(false),
                })?;
                if is_location {
                    self.external_data.insert(value);
                }
                Ok(read)
            }),
            11 | 12 => {
                let mut port = Port {
                    name: String::new(),
                    element: Element::Other,
                    type_name: "not a tensor".into(),
                    shape: Vec::new(),
                };
                let read = graph.message(&mut |field, value| match field {
                    1 => value.text().map(|name| port.name = name).map(|()| true),
                    2 => value.message(&mut |field, kind| match field {
                        1 => kind.message(&mut |field, tensor| read_tensor(field, tensor, &mut port)),
                        _ => Ok(false),
                    }),
                    _ => Ok(false),
                })?;
                if field == 11 {
                    self.inputs.push(port);
                } else {
                    self.outputs.push(port);
                }
                Ok(read)
            }
            _ => Ok(false),
        }
    }
}

fn read_tensor(field: u64, tensor: &mut Message<'_>, port: &mut Port) -> std::io::Result<bool> {
    match field {
        1 => {
            (port.element, port.type_name) = match tensor.number()? {
                1 => (Element::F32, "float32".into()),
                7 => (Element::I64, "int64".into()),
                9 => (Element::Bool, "bool".into()),
                6 => (Element::Other, "int32".into()),
                10 => (Element::Other, "float16".into()),
                16 => (Element::Other, "bfloat16".into()),
                other => (Element::Other, format!("type {other}")),
            };
            Ok(true)
        }
        2 => tensor.message(&mut |field, shape| match field {
            1 => {
                port.shape.push(-1);
                let last = port.shape.len() - 1;
                shape.message(&mut |field, dimension| match field {
                    1 => {
                        port.shape[last] = i64::try_from(dimension.number()?).unwrap_or(-1);
                        Ok(true)
                    }
                    _ => Ok(false),
                })
            }
            _ => Ok(false),
        }),
        _ => Ok(false),
    }
}

/// Told of a field's number; reads its value and says so, or leaves it to be skipped.
type Visit<'v> = dyn FnMut(u64, &mut Message<'_>) -> std::io::Result<bool> + 'v;

trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// The rest of a protobuf message.
struct Message<'a> {
    source: &'a mut dyn Source,
    left: u64,
}

impl Message<'_> {
    fn each(&mut self, visit: &mut Visit<'_>) -> std::io::Result<()> {
        while self.left > 0 {
            let key = self.number()?;
            if !visit(key >> 3, self)? {
                self.skip(key & 7)?;
            }
        }
        Ok(())
    }

    /// A field's value that is a message of its own.
    fn message(&mut self, visit: &mut Visit<'_>) -> std::io::Result<bool> {
        let len = self.length()?;
        Message { source: self.source, left: len }.each(visit)?;
        self.left -= len;
        Ok(true)
    }

    fn text(&mut self) -> std::io::Result<String> {
        let len = self.length()?;
        let mut bytes = vec![0; usize::try_from(len.min(MAX_NAME_BYTES)).expect("names are short")];
        self.source.read_exact(&mut bytes)?;
        self.left -= len;
        self.source.seek_relative(i64::try_from(len - bytes.len() as u64).expect("lengths are checked"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn length(&mut self) -> std::io::Result<u64> {
        let len = self.number()?;
        if len > self.left { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(len) }
    }

    /// A variable-length integer.
    fn number(&mut self) -> std::io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.left = self.left.checked_sub(1).ok_or(std::io::ErrorKind::UnexpectedEof)?;
            self.source.read_exact(&mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(std::io::Error::other("a number of more than 64 bits"))
    }

    fn skip(&mut self, wire_type: u64) -> std::io::Result<()> {
        let len = match wire_type {
            0 => return self.number().map(|_| ()),
            1 => 8,
            2 => self.length()?,
            5 => 4,
            _ => return Err(std::io::Error::other("not a protobuf message")),
        };
        self.left = self.left.checked_sub(len).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        self.source.seek_relative(i64::try_from(len).map_err(std::io::Error::other)?)
    }
}

/// Longer names are cut off.
const MAX_NAME_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_refused() {
        let read = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs_err::write(file.path(), bytes).unwrap();
            GraphPorts::read(file.path()).unwrap_err().to_string()
        };
        assert!(read(b"").contains("no graph with inputs"));
        assert!(read(b"<html>").contains("expected an ONNX model"));
        // A graph that says it is longer than the file.
        assert!(read(&[0x3a, 0x7f, 0x0a]).contains("expected an ONNX model"));
    }

    /// A field that holds bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    #[test]
    fn nodes_inputs_and_files_of_weights_are_read() {
        let weights_in = |name: &str| {
            let entry = [field(1, b"location"), field(2, name.as_bytes())].concat();
            let offset = [field(1, b"offset"), field(2, b"64")].concat();
            let tensor = field(5, &[field(13, &offset), field(13, &entry)].concat());
            // An input `x` without a type.
            let graph = [field(1, &field(4, b"Op")), tensor, field(11, &field(1, b"x"))].concat();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.onnx");
            fs_err::write(&path, field(7, &graph)).unwrap();
            fs_err::write(folder.path().join("w.data"), "").unwrap();
            let ports = GraphPorts::read(&path).unwrap();
            assert_eq!((ports.inputs[0].name.as_str(), ports.operators.first().map(String::as_str)), ("x", Some("Op")));
            ports.weights(&path).map(|files| files.len()).map_err(|e| e.to_string())
        };
        assert_eq!(weights_in("w.data"), Ok(1));
        assert!(weights_in("v.data").unwrap_err().contains("v.data"));
        for outside in ["../w.data", "/etc/passwd", "a/../../w.data"] {
            assert!(weights_in(outside).unwrap_err().contains("expected weights in the graph's own folder"));
        }
    }
}
