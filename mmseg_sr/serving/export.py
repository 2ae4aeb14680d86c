"""A served network as a file: ONNX, or a program of torch.export. Both have the card inside."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..errors import UserError, one_line
from .metadata import Card
from .network import ServedNetwork

CARD_FILE = 'mmseg_sr.json'  # in a .pt2
INPUT = 'image'


def trace(network: ServedNetwork, size: tuple[int, int], dynamic: bool) -> ExportedProgram:
    """Turn a network into a graph: of any number of images, of one size or, where ``dynamic``, of any.

    Args:
        network: Its SR blocks are portable ones, resized where ``dynamic``.
        size: (height, width) of the images; where ``dynamic``, of the example that is traced.
        dynamic: Whether height and width are free.

    Raises:
        UserError: With the reason why the network cannot be traced.
    """
    # Two images: where there is one of something, the tracer takes it that there always is.
    images = torch.zeros(2, 3, *size, dtype=torch.uint8)
    free = {0: Dim.DYNAMIC, **({2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if dynamic else {})}
    network = network.eval().requires_grad_(False)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(network, (images,), dynamic_shapes=(free,))
    except Exception as error:  # the tracer raises what the network raises, and some dozen kinds of its own
        raise UserError(f'torch.export cannot trace the network: {_reason(error)}') from error
    for node in program.graph.nodes:
        node.meta.pop('stack_trace', None)  # places of this machine
    return program


def example_size(size: tuple[int, int]) -> tuple[int, int]:
    """A size to trace a network of any size by: no map in it has the size that a memory was trained for.

    Example:
        >>> example_size((128, 256))
        (160, 320)
    """
    return tuple(side + max(side // 4, 8) for side in size)


def write_onnx(program: ExportedProgram, path: Path, card: Card, opset: int | None = None) -> int:
    """Write a traced network as ONNX, with the card in its ``metadata_props``.

    Args:
        program: What :func:`trace` gave.
        path: The file.
        card: What it is.
        opset: Version of ONNX's operators; None for the exporter's choice.

    Returns:
        The opset of the file.

    Raises:
        UserError: With the reason why it cannot be written.
    """
    require('onnx', 'onnxscript')
    import onnx

    try:
        with quiet():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=[card.output],
                opset_version=opset,
                verbose=False,
            )
        model = exported.model_proto
        _clean(model.graph)
        model.metadata_props.extend(
            onnx.StringStringEntryProto(key=key, value=text) for key, text in card.texts().items()
        )
        onnx.save(model, path)
        onnx.checker.check_model(path)
    except Exception as error:  # of the exporter, of protobuf over 2 GB, of the checker
        raise UserError(f'torch.onnx cannot write the network: {_reason(error)}') from error
    return next(each.version for each in model.opset_import if not each.domain)


def write_program(program: ExportedProgram, path: Path, card: Card) -> None:
    """Write a traced network as torch.export does (.pt2), with the card beside it in the archive.

    Raises:
        UserError: With the reason why it cannot be written.
    """
    try:
        torch.export.save(program, path, extra_files={CARD_FILE: json.dumps(card.texts())})
    except Exception as error:
        raise UserError(f'torch.export cannot write the network: {_reason(error)}') from error


def load_program(path: Path) -> tuple[nn.Module, Card]:
    """Load what :func:`write_program` wrote. Take such files only from people you trust.

    A network of any size refuses images so small that one of its maps has a side of one cell.
    """
    extra = {CARD_FILE: ''}
    program = torch.export.load(path, extra_files=extra)
    return program.module(), Card.from_texts(json.loads(extra[CARD_FILE]), path)


def resizes(path: Path) -> list[str]:
    """Which modules the Resize nodes of an ONNX file come from: 'segmentor', or the name of one in it.

    A network at one size keeps the one that brings its logits to the size of the image.
    """
    import onnx

    found = []
    for node in onnx.load(path, load_external_data=False).graph.node:
        if node.op_type == 'Resize':
            modules = dict(each.split(': ', 1) for each in _namespace(node).split('/')[:-1] if ': ' in each)
            found.append(([''] + list(modules))[-1].removeprefix('segmentor.') or 'segmentor')
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' warnings of what is not installed and not needed from the output."""
    disabled = logging.root.manager.disable
    try:
        logging.disable(logging.ERROR)
        # A graph that fails is printed whole.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(disabled)


def require(*packages: str) -> None:
    """Refuse what needs packages that are not there.

    Raises:
        UserError: Says what to install.
    """
    for package in packages:
        try:
            __import__(package)
        except ImportError as error:
            raise UserError(f'{package} is not installed: pip install "mmseg-sr[export]"') from error


def _clean(graph: object) -> None:
    """Give the free sides their names, and take out what tells of this machine."""
    names = ('batch', None, 'height', 'width')
    dims = graph.input[0].type.tensor_type.shape.dim
    symbols = {dim.dim_param: name for dim, name in zip(dims, names, strict=True) if dim.dim_param and name}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_param = symbols[dim.dim_param]
        del value.metadata_props[:]
    for node in graph.node:
        namespace = _namespace(node)
        del node.metadata_props[:]
        node.metadata_props.add(key='namespace', value=namespace)


def _namespace(node: object) -> str:
    return next((each.value for each in node.metadata_props if each.key == 'namespace'), '')


def _reason(error: BaseException) -> str:
    """The last cause of an exporter's error, whose own text is a page."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)[:600]
