"""Matrices of an ONNX graph in 8 or 4 bits, counted: none is left out without a word."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from slimcls.errors import UserError

#: Numbers that share a scale, at 4 bits, and at 8 bits in groups.
GROUP = 32
#: onnxruntime's word for rounding what is multiplied to 8 bits, in the same groups: without it a
#: text took 2.4 times as long (four layers, tried once).
_ROUNDED = 4

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
    grouped: bool = False
    """Whether, at 8 bits, groups of numbers have scales of their own, and not whole columns."""
    share_by_columns: float | None = None
    """Where groups were taken: per cent of the validation texts that columns gave another label."""


def quantise(source: Path, target: Path, bits: int, *, grouped: bool = False) -> Quantised:
    """Write the graph with every matrix and table of embeddings in so many bits.

    At 8 bits a column of a matrix has a scale of its own, a table one for all; what is multiplied
    is rounded to 8 bits as well, with one scale for all of it. A few numbers far larger than the
    rest, as the states of most decoders have, then take the others' digits. ``grouped`` gives 32
    numbers a scale each, on both sides of a product, which takes longer. At 4 bits 32 numbers share
    a scale.

    Raises UserError where a matrix stays as it was.
    """
    model = onnx.load(source)
    _as_products(model.graph)
    matrices = _matrices(model.graph)
    every = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    with _quietly():
        (_in_8_grouped if grouped else _BY_BITS[bits])(model, target)
    kept = matrices.keys() & _matrices(onnx.load(target).graph).keys()
    if kept or not matrices:
        raise UserError(
            f"--bits {bits}: {len(kept)} of {len(matrices)} matrices of this model cannot be "
            "quantised; use more bits"
        )
    numbers = sum(matrices.values())
    return Quantised(len(matrices), numbers, every - numbers, grouped)


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


def _in_8_grouped(model: ModelProto, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    # Tables of embeddings are not among what this one puts into 8 bits.
    products = _in_groups(model, 8, _HELD[:1], accuracy_level=_ROUNDED)
    quantize_dynamic(products.model, target, op_types_to_quantize=list(_HELD[1:]))


def _in_4(model: ModelProto, target: Path) -> None:
    _in_groups(model, 4, _HELD).save_model_to_file(str(target))


def _in_groups(model: ModelProto, bits: int, held: tuple[str, ...], **more: int) -> Any:
    """The graph as onnxruntime holds it while it changes it."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantiser = MatMulNBitsQuantizer(
        model, bits=bits, block_size=GROUP, is_symmetric=True, op_types_to_quantize=held, **more
    )
    quantiser.process()
    return quantiser.model


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
