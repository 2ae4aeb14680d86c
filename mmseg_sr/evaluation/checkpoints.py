"""A checkpoint, and one to compare it with, as an experiment of one seed: what tools/test.py says of each is a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmengine.config import Config

from ..errors import UserError
from . import rows, settings
from .plan import Arm, Experiment, Mode
from .summary import METRICS, summarize

MODEL, BASELINE = 'model', 'baseline'


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        name: ``MODEL`` or ``BASELINE``.
        config: As given.
        cfg: As read, with options.
        checkpoint: File of the weights.
        metrics: What ``tools/test.py --metrics`` writes, or has written.
    """

    name: str
    config: str
    cfg: Config
    checkpoint: str
    metrics: Path

    @property
    def folder(self) -> Path:
        """Work directory of its training."""
        return Path(self.checkpoint).parent


def experiment_of(networks: Sequence[Trained], options: Mapping, work_dir: Path) -> Experiment:
    """Take a model, and a baseline if there is one, for an experiment of one seed and mode.

    Confusion matrices are read from where :func:`confusion_file` says, if they are there.

    Args:
        networks: The model, alone or after the baseline.
        options: ``--cfg-options`` for both.
        work_dir: Folder of the confusion matrices.

    Raises:
        UserError: For metrics that are none, of another checkpoint, or of different test modes.
    """
    modes = {_document(network)['mode'] for network in networks}
    if len(modes) > 1:
        raise UserError(f'the model and the baseline were tested in different modes: {" and ".join(sorted(modes))}')
    arms = {
        each.name: Arm(each.name, Path(each.config).resolve(), each.config, options, networks[0].name, {})
        for each in networks
    }
    config = Path(networks[-1].config)
    return Experiment(config.stem, config, work_dir, networks[0].name, arms, (0,), (Mode(modes.pop()),))


def confusion_file(work_dir: Path, name: str, mode: str = 'single-scale') -> Path:
    """Where the confusion matrices of a network are, as those of an experiment."""
    return work_dir / 'rows' / name / 'seed0' / f'{Mode(mode).slug}.npz'


def document_of(exp: Experiment, networks: Sequence[Trained]) -> dict:
    """Work out the report of :func:`experiment_of`: see :func:`.summary.summarize`."""
    return summarize(exp, [row_of(network) for network in networks], partial(rows.read_areas, exp))


def row_of(network: Trained) -> dict:
    """The row of a network, as in an experiment of one seed."""
    document = _document(network)
    iterations = (network.cfg.get('train_cfg') or {}).get('max_iters')
    return {
        'arm': network.name,
        'seed': 0,
        'mode': document['mode'],
        'fingerprint': '',
        'parameters': settings.count_parameters(network.cfg),
        'metrics': document['metrics'],
        'train_seconds': rows.training_seconds(network.folder, iterations) if isinstance(iterations, int) else None,
        'test_seconds': document.get('seconds'),
        **{key: document.get(key) for key in ('commit', 'machine', 'versions', 'date')},
    }


def _document(network: Trained) -> dict:
    """What tools/test.py wrote of a network."""
    document = rows.read_json(network.metrics)
    if not isinstance(document, dict) or not {'checkpoint', 'mode', 'metrics'} <= document.keys():
        raise UserError(f'{network.metrics} is not what tools/test.py --metrics writes')
    missing = [metric for metric in METRICS if document['metrics'].get(metric) is None]
    if missing:
        raise UserError(f'{network.metrics} has no {", ".join(missing)}: the report needs an IoUMetric')
    if Path(document['checkpoint']).name != Path(network.checkpoint).name:
        raise UserError(f'{network.metrics} is of another checkpoint: {document["checkpoint"]}')
    return document
