"""Matrices of an ONNX graph in 8 or 4 bits, counted: none is left out without a word."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from slimcls.errors import UserError

#: Numbers that share a scale, at 4 bits.
GROUP = 32

#: Operators that the quantisers are told to look at.
_HELD = ("MatMul", "Gather")
_MATRIX = 2  # dimensions


@dataclass(frozen=True)
class Quantised:
    """What was quantised."""

    matrices: int
    parameters: int
    """Numbers in them."""
    left: int
    """Numbers that stay in 32 bits: biases, norms, what every text begins with."""


def quantise(source: Path, target: Path, bits: int) -> Quantised:
    """Write the graph with every matrix and table of embeddings in so many bits.

    At 8 bits a column of a matrix has a scale of its own, a table one for all; what is multiplied
    is rounded to 8 bits as well. At 4 bits 32 numbers share a scale.

    Raises UserError where a matrix stays as it was.
    """
    model = onnx.load(source)
    _as_products(model.graph)
    matrices = _matrices(model.graph)
    every = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    with _quietly():
        _BY_BITS[bits](model, target)
    kept = matrices.keys() & _matrices(onnx.load(target).graph).keys()
    if kept or not matrices:
        raise UserError(
            f"--bits {bits}: {len(kept)} of {len(matrices)} matrices of this model cannot be "
            "quantised; use more bits"
        )
    numbers = sum(matrices.values())
    return Quantised(len(matrices), numbers, every - numbers)


def _as_products(graph: GraphProto) -> None:
    """Gemm as MatMul and Add: quantisers pass over the former without a word."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "Gemm" or node.input[1] not in weights:
            nodes.append(node)
            continue
        turned = any(one.name == "transB" and one.i for one in node.attribute)
        if turned:
            matrix = numpy_helper.to_array(weights[node.input[1]])
            name = f"{node.input[1]}_turned"
            if name not in weights:
                weights[name] = numpy_helper.from_array(np.ascontiguousarray(matrix.T), name)
                graph.initializer.append(weights[name])
            node.input[1] = name
        product, bias = node.input[:2], node.input[2:]
        out = f"{node.output[0]}_product" if bias else node.output[0]
        nodes.append(onnx.helper.make_node("MatMul", product, [out], f"{node.name}_product"))
        if bias:
            nodes.append(onnx.helper.make_node("Add", [out, *bias], node.output, node.name))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _matrices(graph: GraphProto) -> dict[str, int]:
    """Matrices in 32 bits by name, and how many numbers each holds; whatever they are used for."""
    return {
        tensor.name: int(np.prod(tensor.dims))
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == _MATRIX
    }


def _in_8(model: ModelProto, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(
        model,
        target,
        op_types_to_quantize=list(_HELD),
        per_channel=True,
        extra_options={"MatMulConstBOnly": True},
    )


def _in_4(model: ModelProto, target: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantiser = MatMulNBitsQuantizer(
        model, bits=4, block_size=GROUP, is_symmetric=True, op_types_to_quantize=_HELD
    )
    quantiser.process()
    quantiser.model.save_model_to_file(str(target))


_BY_BITS: dict[int, Callable[[ModelProto, Path], None]] = {8: _in_8, 4: _in_4}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what the quantisers say of each matrix."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
