//! Small ONNX graphs made in memory, field by field as [`super::graph_file`] reads them.
//!
//! Field numbers: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

/// Element types by their numbers in ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32 = 1,
    I64 = 7,
    F16 = 10,
    BF16 = 16,
}

/// A graph with one input and one output, both f32.
#[derive(Debug, Clone, Default)]
pub(super) struct GraphBytes {
    graph: Vec<u8>,
    n_values: usize,
}

impl GraphBytes {
    /// A graph that takes `x`, of some shape; an unknown length is none.
    pub(super) fn new(shape: &[u64]) -> Self {
        let mut bytes = Self::default();
        field(&mut bytes.graph, 2, b"made in memory");
        field(&mut bytes.graph, 11, &port("x", shape));
        bytes
    }

    /// A constant, as little-endian bytes.
    pub(super) fn constant(&mut self, kind: Kind, shape: &[u64], raw: &[u8]) -> String {
        let name = self.name();
        let mut tensor = Vec::with_capacity(raw.len() + 64);
        shape.iter().for_each(|n| number(&mut tensor, 1, *n));
        number(&mut tensor, 2, kind as u64);
        field(&mut tensor, 8, name.as_bytes());
        field(&mut tensor, 9, raw);
        field(&mut self.graph, 5, &tensor);
        name
    }

    /// A node with one output, whose name comes back.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str]) -> String {
        self.node_with(operator, inputs, None)
    }

    /// A conversion to another type.
    pub(super) fn cast(&mut self, input: &str, kind: Kind) -> String {
        self.node_with("Cast", &[input], Some(("to", kind as u64)))
    }

    fn node_with(&mut self, operator: &str, inputs: &[&str], attribute: Option<(&str, u64)>) -> String {
        const INT: u64 = 2;
        let name = self.name();
        let mut node = Vec::new();
        inputs.iter().for_each(|input| field(&mut node, 1, input.as_bytes()));
        field(&mut node, 2, name.as_bytes());
        field(&mut node, 4, operator.as_bytes());
        if let Some((key, value)) = attribute {
            let mut attribute = Vec::new();
            field(&mut attribute, 1, key.as_bytes());
            number(&mut attribute, 3, value);
            number(&mut attribute, 20, INT);
            field(&mut node, 5, &attribute);
        }
        field(&mut self.graph, 1, &node);
        name
    }

    /// The file, giving one value.
    pub(super) fn giving(mut self, output: &str, shape: &[u64]) -> Vec<u8> {
        const IR: u64 = 10;
        const OPSET: u64 = 21;
        field(&mut self.graph, 12, &port(output, shape));
        let mut opset = Vec::new();
        number(&mut opset, 2, OPSET);
        let mut model = Vec::with_capacity(self.graph.len() + 64);
        number(&mut model, 1, IR);
        field(&mut model, 7, &self.graph);
        field(&mut model, 8, &opset);
        model
    }

    fn name(&mut self) -> String {
        self.n_values += 1;
        format!("v{}", self.n_values)
    }
}

/// An f32 input or output.
fn port(name: &str, shape: &[u64]) -> Vec<u8> {
    let [mut dims, mut tensor, mut kind, mut port] = [const { Vec::new() }; 4];
    for n in shape {
        let mut dim = Vec::new();
        number(&mut dim, 1, *n);
        field(&mut dims, 1, &dim);
    }
    number(&mut tensor, 1, Kind::F32 as u64);
    field(&mut tensor, 2, &dims);
    field(&mut kind, 1, &tensor);
    field(&mut port, 1, name.as_bytes());
    field(&mut port, 2, &kind);
    port
}

/// A field that holds bytes: text, or a message of its own.
fn field(message: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    varint(message, tag << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// A field that holds a number.
fn number(message: &mut Vec<u8>, tag: u64, value: u64) {
    varint(message, tag << 3);
    varint(message, value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph_file::GraphPorts;

    #[test]
    fn what_is_written_is_read_back() {
        let mut graph = GraphBytes::new(&[1]);
        let weight = graph.constant(Kind::F32, &[300, 2], &[0; 2400]);
        let product = graph.node("MatMul", &["x", &weight]);
        let cast = graph.cast(&product, Kind::F16);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), graph.giving(&cast, &[300, 1])).unwrap();
        let ports = GraphPorts::read(file.path()).unwrap();
        assert_eq!(ports.operators.into_iter().collect::<Vec<_>>(), ["Cast", "MatMul"]);
        let described = |ports: &[crate::engine::graph_file::Port]| {
            ports.iter().map(|port| format!("{} {}", port.name, port.described())).collect::<Vec<_>>()
        };
        assert_eq!(described(&ports.inputs), ["x float32 [1]"]);
        assert_eq!(described(&ports.outputs), [format!("{cast} float32 [300, 1]")]);
    }
}
