"""DataGuardHook: a file that stops a run is named."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..datasets.classes import heads_of, labels_of
from ..datasets.loading import check_loads, leaves


@HOOKS.register_module()
class DataGuardHook(Hook):
    """Name the file that stops a run: one that cannot be read, labels of another size or with ids that are no class.

    The tools here use it in every run. With other tools: ``custom_hooks = [dict(type='DataGuardHook')]``. Each image
    and label map is looked at when it is loaded, in the data workers. Without it a GPU ends with a device-side assert
    at an id that is no class, and labels of another size can go unnoticed.
    """

    def before_run(self, runner: Runner) -> None:
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            loader = getattr(loop, 'dataloader', None)  # a loop that this run does not use is a config still
            classes, ignored = labels_of(runner.cfg)
            if loop is runner._train_loop:  # auxiliary heads are trained, and do not predict
                classes = min([classes, *heads_of(runner.cfg).values()]) if classes else None
            for leaf in leaves(loader.dataset) if loader else ():
                if hasattr(leaf, 'pipeline'):
                    check_loads(leaf.pipeline, classes, ignored)
