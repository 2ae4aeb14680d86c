"""What an experiment, or a training, has left on this machine, put together for its report page."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from ..evaluation import checkpoints, settings
from ..evaluation.checkpoints import Trained
from ..evaluation.logs import scalars
from ..evaluation.plan import Experiment
from ..evaluation.rows import training_dir
from .gallery import Network, look
from .page import Page


def experiment_page(exp: Experiment, document: dict, pictures: int = 3, images: int = 20) -> Page:
    """Make the page of an experiment, with pictures and memories of its first seed.

    Args:
        exp: The experiment.
        document: Its report: see :func:`..evaluation.report.document_of`.
        pictures: Number of images to predict.
        images: Number of images for the figures of the memory.

    Raises:
        UserError: For a config that cannot be read.
    """
    arms = sorted(exp.arms.values(), key=lambda arm: arm.name != arm.baseline)  # baselines first
    networks = []
    for arm in arms:
        cfg = settings.resolve(arm)
        checkpoint = training_dir(exp, arm, exp.seeds[0]) / f'iter_{settings.max_iterations(cfg)}.pth'
        networks.append(Network(arm.name, arm.baseline, cfg, checkpoint))
    work = f' --work-dir {shlex.quote(str(exp.work_dir))}'
    return Page(
        title=exp.name,
        document=document,
        commands=[document['command'] + work, f'python tools/report_page.py {exp.path}{work}'],
        sources=sources([exp.path.resolve(), *(arm.config for arm in exp.arms.values())]),
        curves={arm.name: [scalars(training_dir(exp, arm, seed)) for seed in exp.seeds] for arm in arms},
        gallery=look(networks, pictures, images),
    )


def checkpoint_page(
    exp: Experiment, document: dict, networks: Sequence[Trained], pictures: int = 3, images: int = 20
) -> Page:
    """Make the page of a checkpoint, beside its baseline or alone.

    Args:
        exp: What :func:`..evaluation.checkpoints.experiment_of` makes of them.
        document: Its report.
        networks: The checkpoint, alone or after its baseline.
        pictures: Number of images to predict.
        images: Number of images for the figures of the memory.
    """
    first, last = networks[0], networks[-1]
    words = ['python', 'tools/report_page.py', last.config, last.checkpoint]
    words += ['--baseline', first.config, first.checkpoint] if first is not last else []
    options = exp.arms[last.name].options
    words += ['--cfg-options', *settings.option_words(options)] if options else []
    scores = checkpoints.row_of(last)['metrics'] if first is last else {}
    return Page(
        title=exp.name,
        document=document,
        commands=[shlex.join(words)],
        sources=sources([Path(each.config).resolve() for each in networks]),
        curves={each.name: [scalars(each.folder)] for each in networks},
        gallery=look(
            [Network(each.name, first.name, each.cfg, each.checkpoint) for each in networks], pictures, images
        ),
        scores={key.removeprefix('IoU.'): value for key, value in scores.items() if key.startswith('IoU.')},
    )


def sources(paths: Sequence[Path]) -> dict[str, str]:
    """Read files to be shown, each once, by their names and those of their folders."""
    return {f'{path.parent.name}/{path.name}': path.read_text(encoding='utf-8', errors='replace') for path in paths}
