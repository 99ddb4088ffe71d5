"""An ONNX graph that can be asked who makes a value and who reads it, and that can be added to and rewired.

Only the proto is touched. Weights in external files are never loaded: an edit of a 10 GB model takes a second.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from . import ExportError

BOOL, I64 = TensorProto.BOOL, TensorProto.INT64
F16, F32, F64, BF16 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BFLOAT16
OLDEST_IR_VERSION = 10  # of files written here; it has every element type
COMPARISONS = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "IsNaN", "Xor"}


class Graph:
    """Values are named by strings, as in ONNX; a node is known by the first of its outputs."""

    def __init__(self, model: ModelProto):
        proto = model.graph
        self.opsets = {_domain(opset.domain): opset.version for opset in model.opset_import}
        self.nodes: list[NodeProto] = []
        self.initializers = {tensor.name: tensor for tensor in proto.initializer}
        self.inputs = {value.name: value for value in proto.input if value.name not in self.initializers}
        self.outputs = {value.name: value for value in proto.output}
        self.producers: dict[str, NodeProto] = {}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        self._n_names = 0
        for node in proto.node:
            self._add(_copy(node))

    # --- asking

    def operands(self, node: NodeProto) -> list[str]:
        """What a node reads, by itself or inside its subgraphs."""
        return [name for name in node.input if name] + _captured(node)

    def attribute(self, node: NodeProto, name: str, default=None):
        return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)

    def constant(self, value: str) -> np.ndarray | None:
        """The number or array behind a value, if the proto holds it."""
        if (tensor := self.initializers.get(value)) is not None:
            return None if tensor.data_location == TensorProto.EXTERNAL else numpy_helper.to_array(tensor)
        node = self.producers.get(value)
        if node is None or node.op_type != "Constant":
            return None
        stored = node.attribute[0]
        if stored.name == "value":
            return numpy_helper.to_array(stored.t)
        return np.array(helper.get_attribute_value(stored))

    def is_constant(self, value: str) -> bool:
        """Whether a value follows from weights and constants alone."""
        return all(end in self.initializers for end in self.ends([value]))

    def constant_rank(self, value: str) -> int | None:
        """The rank of a constant, also of one computed from a weight of the same rank (dequantised, turned, cast)."""
        if (tensor := self.initializers.get(value)) is not None:
            return len(tensor.dims)
        node = self.producers.get(value)
        if node is None:
            return None
        if node.op_type == "Constant":
            return self.constant(value).ndim
        if node.op_type in ("Transpose", "DequantizeLinear", "Cast", "Identity") and self.is_constant(value):
            return self.constant_rank(node.input[0])
        return None

    def cone(self, values: Iterable[str], stop: Callable[[NodeProto], bool] = lambda node: False) -> list[NodeProto]:
        """The nodes that `values` are computed by. A node for which `stop` holds is listed, but not looked behind."""
        found, queue = {}, list(values)
        while queue:
            node = self.producers.get(queue.pop())
            if node is not None and key(node) not in found:
                found[key(node)] = node
                queue += [] if stop(node) else self.operands(node)
        return list(found.values())

    def ends(self, values: Iterable[str], stop: Callable[[NodeProto], bool] = lambda node: False) -> set[str]:
        """Graph inputs and initializers that `values` are computed from."""
        values = list(values)
        read = [name for node in self.cone(values, stop) if not stop(node) for name in self.operands(node)]
        return {name for name in read + values if name not in self.producers}

    def dependents(self, values: Iterable[str]) -> set[str]:
        """`values` and all that is computed from what they hold; a shape is not what they hold."""
        found, queue = set(values), list(values)
        while queue:
            for node in self.readers[queue.pop()]:
                for name in [] if is_shape(node) else node.output:
                    if name and name not in found:
                        found.add(name)
                        queue.append(name)
        return found

    def dtype(self, value: str) -> int:
        """The element type, from declarations and from what ops give back."""
        for declared in (self.inputs, self.outputs):
            if value in declared:
                return declared[value].type.tensor_type.elem_type
        if value in self.initializers:
            return self.initializers[value].data_type
        node = self.producers[value]
        if node.op_type in COMPARISONS:
            return BOOL
        if node.op_type in ("Shape", "Size", "ArgMax", "NonZero"):
            return I64
        if node.op_type == "Cast":
            return self.attribute(node, "to")
        if node.op_type == "Constant":
            return helper.np_dtype_to_tensor_dtype(self.constant(value).dtype)
        if node.op_type == "ConstantOfShape":
            fill = self.attribute(node, "value")
            return fill.data_type if fill is not None else F32
        followed = {"Where": 1, "CastLike": 1, "DequantizeLinear": 1}.get(node.op_type, 0)
        return self.dtype(node.input[followed])

    # --- adding

    def input(self, name: str, dtype: int, shape: list) -> str:
        self.inputs[name] = helper.make_tensor_value_info(name, dtype, shape)
        return name

    def output(self, name: str, dtype: int, shape: list) -> None:
        """Declares a value that some node produces under this name."""
        self.outputs[name] = helper.make_tensor_value_info(name, dtype, shape)

    def op(self, kind: str, *inputs: str, out=1, domain="", **attributes):
        """Adds a node. `out` is how many outputs it has, or their names; one name or a list comes back."""
        name = self._fresh(kind)
        if isinstance(out, int):
            out = [name] if out == 1 else [f"{name}.{i}" for i in range(out)]
        elif isinstance(out, str):
            out = [out]
        self._add(helper.make_node(kind, inputs, out, name=name, domain=domain, **attributes))
        return out[0] if len(out) == 1 else out

    def ints(self, *values: int) -> str:
        """A constant, `[n]`."""
        return self._inline(np.array(values, dtype=np.int64))

    def scalar(self, value: float, dtype: int = I64) -> str:
        return self._inline(np.array(value), dtype)

    def shape(self, value: str, start: int, end: int) -> str:
        """Some dimensions of a value, as `[end - start]`."""
        return self.op("Shape", value, start=start, end=end)

    # --- changing

    def rewire(self, old: str, new: str, within: Iterable[NodeProto] | None = None) -> None:
        """Every reader of `old` (or those in `within`) reads `new`."""
        for node in list(self.readers[old] if within is None else within):
            if old in _captured(node):
                raise ExportError(f"node {describe(node)} reads {old} inside a subgraph, which cannot be edited here")
            self.set_inputs(node, [new if name == old else name for name in node.input])

    def set_inputs(self, node: NodeProto, inputs: list[str]) -> None:
        for name in set(node.input) - set(inputs):
            self.readers[name] = [reader for reader in self.readers[name] if reader is not node]
        for name in set(inputs) - set(node.input):
            self.readers[name].append(node)
        node.input[:] = inputs

    def set_attribute(self, node: NodeProto, name: str, value) -> None:
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend(kept + [helper.make_attribute(name, value)])

    def rename(self, old: str, new: str) -> str:
        """Gives a node's output another name, for itself and its readers."""
        node = self.producers.pop(old)
        node.output[:] = [new if name == old else name for name in node.output]
        self.producers[new] = node
        self.rewire(old, new)
        return new

    def free_name(self, name: str) -> str:
        """The value goes on under another name, and is no output of the graph; its name can be given to another."""
        self.outputs.pop(name, None)
        return self.rename(name, self._fresh(name))

    def name_output(self, value: str, name: str) -> str:
        """Makes a value known as `name`, by renaming where it is free to be renamed."""
        if value in self.producers and value not in self.outputs:
            return self.rename(value, name)
        return self.op("Identity", value, out=name)

    def remove(self, node: NodeProto) -> None:
        self.set_inputs(node, [])
        for name in node.output:
            self.producers.pop(name, None)
        self.nodes = [other for other in self.nodes if other is not node]

    def copy_cone(self, value: str, replaced: dict[str, str]) -> str:
        """`value` computed once more, from other inputs. Nodes that depend on none of them are shared."""
        if value in replaced or value not in self.producers:
            return replaced.get(value, value)
        node = self.producers[value]
        if is_shape(node) or not replaced.keys() & self.ends([value], stop=is_shape):
            return value
        inputs = [self.copy_cone(name, replaced) if name else "" for name in node.input]
        copy = _copy(node)
        copy.name = self._fresh(node.op_type)
        copy.input[:] = inputs
        names = {name: f"{copy.name}.{i}" for i, name in enumerate(node.output) if name}
        copy.output[:] = [names.get(name, "") for name in node.output]
        self._add(copy)
        replaced.update(names)
        return names[value]

    def raise_opset(self, version: int) -> None:
        """Nodes of the default domain are read by a newer definition, if that says the same about every one of them.

        # Errors
        ExportError for a node whose definition changed in more than the element types it takes.
        """
        for node in self.nodes:
            if node.domain == "" and self.opsets[""] < version:
                self._bring_up(node, version)
        self.opsets[""] = max(version, self.opsets[""])

    def _bring_up(self, node, version):
        try:
            old = defs.get_schema(node.op_type, self.opsets[""], "")
            new = defs.get_schema(node.op_type, version, "")
        except defs.SchemaError:
            return  # one of ONNX Runtime's own ops that it keeps in this domain
        axes = self.attribute(node, "axes")
        if node.op_type.startswith("Reduce") and axes is not None and "axes" not in new.attributes:
            kept = [a for a in node.attribute if a.name != "axes"]
            del node.attribute[:]
            node.attribute.extend(kept)
            self.set_inputs(node, [node.input[0], self.ints(*axes)])
        elif not _says_the_same(old, new):
            raise ExportError(f"node {describe(node)} means something else in opset {version} than in opset "
                              f"{self.opsets['']}; export the model with opset {version}")

    # --- the end

    def to_model(self) -> ModelProto:
        """The nodes that outputs need, in an order in which they can run, and the initializers that those need."""
        needed = {key(node) for node in self.cone(self.outputs)}
        nodes = self._sorted([node for node in self.nodes if key(node) in needed])
        read = {name for node in nodes for name in self.operands(node)} | set(self.outputs)
        kept = [tensor for name, tensor in self.initializers.items() if name in read]
        graph = helper.make_graph(nodes, "decoder", list(self.inputs.values()), list(self.outputs.values()), kept)
        domains = {node.domain for node in nodes} | {""}
        opsets = [helper.make_opsetid(domain, self.opsets.get(domain, 1)) for domain in sorted(domains)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="alike")
        model.ir_version = max(helper.find_min_ir_version_for(opsets, ignore_unknown=True), OLDEST_IR_VERSION)
        return model

    def _sorted(self, nodes):
        """Each node after what it reads. Nodes that were in order stay so; a new one stands where it is first read."""
        done, result = set(), []
        for node in nodes:
            path = [node]
            while path:
                assert len(path) <= len(nodes), "the edited graph has a cycle"
                makers = [self.producers[name] for name in self.operands(path[-1]) if name in self.producers]
                if waits := [maker for maker in makers if key(maker) not in done]:
                    path.append(waits[0])
                else:
                    last = path.pop()
                    if key(last) not in done:
                        done.add(key(last))
                        result.append(last)
        return result

    def _add(self, node):
        self.nodes.append(node)
        for name in node.output:
            if name:
                self.producers[name] = node
        for name in set(self.operands(node)):
            self.readers[name].append(node)

    def _inline(self, array, dtype=I64):
        name = self._fresh("constant")
        self.initializers[name] = helper.make_tensor(name, dtype, array.shape, array.ravel())
        return name

    def _fresh(self, kind):
        while True:
            self._n_names += 1
            name = f"{kind}_{self._n_names}"
            if not (name in self.producers or name in self.initializers or name in self.inputs):
                return name


def key(node: NodeProto) -> str:
    return next(name for name in node.output if name)


def is_shape(node: NodeProto) -> bool:
    """Whether a node reads how large a value is, and not what is in it."""
    return node.op_type in ("Shape", "Size")


def describe(node: NodeProto) -> str:
    """How an error message names a node."""
    return f"{node.name or key(node)!r} ({node.domain + '.' if node.domain else ''}{node.op_type})"


def _copy(node):
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.domain = _domain(copy.domain)
    return copy


def _domain(name):
    return "" if name == "ai.onnx" else name  # two names for one thing


def _says_the_same(old, new):
    """Whether attributes, their defaults and the operands of an old definition are those of a new one."""
    defaults = [{name: a.default_value.SerializeToString() for name, a in schema.attributes.items()}
                for schema in (old, new)]
    operands = [[value.name for value in values]
                for values in (old.inputs, new.inputs[:len(old.inputs)], old.outputs, new.outputs[:len(old.outputs)])]
    return (all(defaults[1].get(name) == default for name, default in defaults[0].items())
            and operands[0] == operands[1] and operands[2] == operands[3])


def _captured(node):
    """Outer values that the subgraphs of a node (If, Loop) read."""
    names = []
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            for inner in graph.node:
                names += [name for name in [*inner.input, *_captured(inner)] if name and name not in own]
                own.update(inner.output)
            names += [value.name for value in graph.output if value.name not in own]
    return names
