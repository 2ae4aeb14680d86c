"""Write a served network to a file, ONNX or torch.export's, with the metadata inside, and compare it with PyTorch."""

import contextlib
import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..errors import UserError, one_line
from .metadata import Metadata
from .network import HOSTS, ServedNetwork, labels_of, served_task, threshold_of

METADATA_FILE = 'mmseg_sr.json'  # in a .pt2
DIFFERENCE = {'float32': 1e-3, 'float16': 5e-2}  # of the largest logit
AGREEMENT = {'float32': 0.999, 'float16': 0.95}  # of the labels, where these are all there is


def trace(network: ServedNetwork, size: tuple[int, int], dynamic: bool) -> ExportedProgram:
    """Turn a network with portable SR blocks into a graph for any number of images of ``size``, (height, width).

    Where ``dynamic``, it takes images of any size, and ``size`` is the trained one.
    """
    if dynamic:  # no map of the example may have the size that a memory was trained for
        size = [side + max(side // 4, 8) for side in size]
    # Two images: where there is one of something, the tracer takes it that there always is.
    images = torch.zeros(2, 3, *size, dtype=torch.uint8)
    free = dict.fromkeys((0, 2, 3) if dynamic else (0,), Dim.DYNAMIC)
    network = network.eval().requires_grad_(False)
    with exporting('trace the network by torch.export'), torch.no_grad():
        program = torch.export.export(network, (images,), dynamic_shapes=(free,))
    for node in program.graph.nodes:
        node.meta.pop('stack_trace', None)  # places of this machine
    return program


def write_onnx(program: ExportedProgram, path: Path, metadata: Metadata, opset: int | None = None) -> dict:
    """Write a traced network as ONNX, with the metadata in its ``metadata_props``.

    Returns:
        The ``opset`` of the file, and ``resizes``: the modules that its Resize nodes come from, 'network' or the name
        of one in it. A network of one size keeps the one that brings its logits to the size of the image.
    """
    names = dict(input_names=['image'], output_names=[metadata.output])
    with exporting('write the network by torch.onnx'):  # which the checker may refuse, and protobuf above 2 GB
        import onnx

        model = torch.onnx.export(program, dynamo=True, opset_version=opset, verbose=False, **names).model_proto
        resizes = _tidy(model.graph)
        onnx.helper.set_model_props(model, metadata.texts())
        onnx.save(model, path)
        onnx.checker.check_model(path)
    return {'opset': next(each.version for each in model.opset_import if not each.domain), 'resizes': resizes}


def write_program(program: ExportedProgram, path: Path, metadata: Metadata) -> None:
    """Write a traced network as torch.export does (.pt2), with the metadata beside it in the archive."""
    with exporting('write the network by torch.export'):
        torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(metadata.texts())})


def load_program(path: Path) -> tuple[nn.Module, Metadata]:
    """Load what :func:`write_program` wrote. Take such files only from people you trust."""
    extra = {METADATA_FILE: ''}
    program = torch.export.load(path, extra_files=extra)
    return program.module(), Metadata.from_texts(json.loads(extra[METADATA_FILE]), path)


def compare(run: Callable, model: nn.Module, pictures: Sequence, size: tuple[int, int], precision: str) -> dict:
    """Compare an exported network with the inference of mmseg or mmpretrain.

    Args:
        run: The exported network: images (N, 3, h, w), uint8, to logits or labels.
        model: The segmentor or classifier that it was made from.
        pictures: RGB (H, W, 3), which are resized to ``size``, (height, width).
        precision: Of the exported network: it says how much they may differ.

    Returns:
        ``size``, number of ``pictures``, ``agreement`` (share of labels that are the same), ``max_difference`` of the
        logits and ``max_logit`` (None where labels come out), and ``passed``.
    """
    print(f'compare with PyTorch at {size[0]}x{size[1]} ...', file=sys.stderr, flush=True)
    threshold, equal, differences, largest = threshold_of(model), [], [], []
    for picture in pictures:
        image = np.ascontiguousarray(mmcv.imresize(picture, size[::-1]).transpose(2, 0, 1))
        expected = HOSTS[served_task(model)].reference(model, torch.from_numpy(image[::-1].copy())).cpu()
        got = run(image[None])
        if got.is_floating_point():
            differences.append((got - expected).abs().max())
            largest.append(expected.abs().max())
            got = labels_of(got, threshold)
        equal.append((got == labels_of(expected, threshold)).double().mean())
    row = dict(size=list(size), pictures=len(pictures), agreement=torch.stack(equal).mean().item())
    row |= dict(max_difference=None, max_logit=None, passed=row['agreement'] >= AGREEMENT[precision])
    if differences:
        difference, most = (torch.stack(values).max().item() for values in (differences, largest))
        row |= dict(max_difference=difference, max_logit=most, passed=difference <= DIFFERENCE[precision] * most)
    return row


@contextlib.contextmanager
def exporting(task: str) -> Iterator[None]:
    """Say on stderr what is begun, not an exporter's warnings; its errors are a ``UserError`` with the last cause."""
    print(f'{task} ...', file=sys.stderr, flush=True)
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        # A graph that fails is printed whole.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    except Exception as error:  # exporters have some dozen kinds, a page long, and raise what the network raises
        while error.__cause__ is not None:
            error = error.__cause__
        raise UserError(f'cannot {task}: {one_line(error)[:600]}') from error
    finally:
        logging.disable(disabled)


def _tidy(graph: object) -> list[str]:
    """Give the free sides their names, take out what tells of this machine, and return where each Resize comes from."""
    sides = zip(graph.input[0].type.tensor_type.shape.dim, ('batch', 'channels', 'height', 'width'), strict=True)
    names = {dim.dim_param: name for dim, name in sides if dim.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]
        del value.metadata_props[:]
    resizes = []
    for node in graph.node:
        namespace = next((each.value for each in node.metadata_props if each.key == 'namespace'), '')
        del node.metadata_props[:]
        node.metadata_props.add(key='namespace', value=namespace)
        if node.op_type == 'Resize':
            modules = [each.split(': ')[0] for each in namespace.split('/')[:-1] if ': ' in each]
            resizes.append(['', *modules][-1].removeprefix('network.') or 'network')
    return resizes
