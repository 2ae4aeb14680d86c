"""ExactResumeHook: a training that was stopped and resumed ends as one that was not, bit for bit."""

import random
from collections.abc import Iterator

import numpy as np
import torch
from mmengine.dist import broadcast, get_rank, get_world_size, is_distributed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import BatchSampler, Dataset, Sampler

ITERATION, IMAGE = 0, 1  # what random numbers are for


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make what is random in a training depend on the seed and the place in the run only.

    In a config: ``default_hooks = dict(exact_resume=dict(type='ExactResumeHook'), ...)``.

    In mmengine a resumed run begins the streams of random numbers anew (torch's, numpy's, Python's). To save them would
    not do: data workers are ahead of the checkpoint by some batches. Here each iteration starts the streams from (seed,
    process, iteration), and each image that is read from (seed, process, number of the image in the run), in whichever
    worker. So a run is the same with any number of data workers, with and without a stop, and with and without a block
    that draws numbers of its own.

    An evaluation that a stop kept from its end is made when the run is resumed: it may find the best checkpoint. All
    processes evaluate with the buffers of the first one, which the checkpoint has: without SyncBN each has its own.

    Exact are iteration-based trainings with a sampler that can skip (mmengine's InfiniteSampler), resumed with as many
    processes and the same batch size; others are warned about. With gradient accumulation mmengine drops, with a
    warning, what was accumulated when the checkpoint was made.
    """

    priority = 'VERY_HIGH'  # the streams start before another hook draws from them

    def __init__(self):
        self._loaded: dict | None = None  # what a checkpoint says of its run
        self._evaluated = -1  # iteration of the last evaluation

    def before_train(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        if runner.iter:
            self._compare(runner)
        if not hasattr(loader.sampler, 'skip') or type(loader.batch_sampler) is not BatchSampler:
            kind = type(loader.sampler).__name__
            runner.logger.warning(f'ExactResumeHook: {kind} cannot skip images: a resumed run would see other ones.')
            return
        if self._loaded and 'sampler_seed' in self._loaded:
            loader.sampler.seed = self._loaded['sampler_seed']  # the sampler was built before the seed was resumed
        # torch forbids another sampler or dataset in a loader, but looks for both where they are put here.
        loader.batch_sampler.sampler = _Numbered(loader.sampler, first=runner.iter * loader.batch_size)
        loader.dataset.__getitems__ = _Seeded(loader.dataset, runner.seed, get_rank())

    def before_train_epoch(self, runner: Runner) -> None:
        """Make the evaluation that was due when the run was stopped."""
        loop = runner.train_loop
        if not runner.iter or not isinstance(loop, IterBasedTrainLoop) or runner.val_loop is None:
            return
        loop._decide_current_val_interval()  # as the loop does after an iteration
        due = runner.iter % loop.val_interval == 0 or runner.iter == loop.max_iters
        if due and runner.iter >= loop.val_begin and self._evaluated != runner.iter:
            runner.val_loop.run()

    def before_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        torch.manual_seed(_start_streams(runner.seed, get_rank(), ITERATION, runner.iter))  # of all devices

    def before_val(self, runner: Runner) -> None:
        for buffer in runner.model.buffers() if is_distributed() else ():
            broadcast(buffer)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._evaluated = runner.iter  # before the CheckpointHook, whose priority is lower, saves the best one

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['exact_resume'] = {**self._settings(runner), 'evaluated': self._evaluated}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get('exact_resume')

    @staticmethod
    def _settings(runner: Runner) -> dict[str, int]:
        loader = runner.train_dataloader
        seed = getattr(loader.sampler, 'seed', None)
        return {'processes': get_world_size(), 'batch_size': loader.batch_size, 'sampler_seed': seed}

    def _compare(self, runner: Runner) -> None:
        if self._loaded is None:
            runner.logger.warning('The checkpoint was saved without ExactResumeHook: it is not resumed bit for bit.')
            return
        self._evaluated = self._loaded['evaluated']
        for key in ('processes', 'batch_size'):
            here, there = self._settings(runner)[key], self._loaded[key]
            if here != there:
                runner.logger.warning(f'Not resumed bit for bit: {key} was {there} and is {here}.')


class _Numbered(Sampler):
    """What a sampler draws, as (number of the image in the run of this process, index in the dataset)."""

    def __init__(self, sampler: Sampler, first: int):
        self.sampler, self.first = sampler, first

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return enumerate(self.sampler, self.first)

    def __len__(self) -> int:
        return len(self.sampler)


class _Seeded:
    """Read a batch's images, each with its own streams; torch's loader calls it as the dataset's ``__getitems__``."""

    def __init__(self, dataset: Dataset, *key: int):
        self.dataset, self.key = dataset, key

    def __call__(self, draws: list[tuple[int, int]]) -> list:
        images = []
        for number, index in draws:
            _start_streams(*self.key, IMAGE, number)
            images.append(self.dataset[index])
        return images


def _start_streams(seed: int, *place: int) -> int:
    """Start torch's, numpy's and Python's stream of the CPU; return the seed of torch's."""
    words = np.random.SeedSequence(seed, spawn_key=place).generate_state(4)
    torch_seed = int(words[:2].view(np.uint64)[0])
    random.seed(words.tobytes())
    np.random.seed(words)
    torch.default_generator.manual_seed(torch_seed)
    return torch_seed
