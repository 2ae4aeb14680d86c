"""Tools called in the test's own process, where a new one would import for seconds, and in a process of their own."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

ROOT = Path(__file__).resolve().parents[1]


class Done(NamedTuple):
    """Exit status and output of a tool."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        """The JSON document that the tool printed last; it must have ended well."""
        assert self.status == 0, self.err
        return json.loads(self.out.splitlines()[-1])

    @property
    def mistake(self) -> str:
        """The one message that the tool ended with, and exit status 2."""
        assert self.status == 2 and 'Traceback' not in self.err, self
        (message,) = [line for line in self.err.splitlines() if 'error: ' in line]
        return message


def forget_runs() -> None:
    """Let mmengine start as in a new process: its loggers, else, write to the last run's closed stdout."""
    for kept in (MMLogger, MessageHub, Visualizer, *Visualizer.__subclasses__(), DefaultScope):
        kept._instance_dict.clear()


def command(*words: object, cwd: Path | None = None, **environment: str) -> Done:
    """Run a program of the checkout as a user does, from another folder."""
    paths = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / 'tests'), os.environ.get('PYTHONPATH')]))
    programs = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': paths, 'PATH': programs, **environment}
    options = dict(cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)
    done = subprocess.run([*map(str, words)], **options)
    return Done(done.returncode, done.stdout, done.stderr)


def python(*words: object, cwd: Path | None = None, check: bool = True, **environment: str) -> Done:
    """Run Python in a new process, which must end well unless ``check`` is off."""
    done = command(sys.executable, *words, cwd=cwd, **environment)
    assert not check or done.status == 0, f'{words}\n{done.out[-2000:]}\n{done.err[-3000:]}'
    return done


def find(name: str) -> Path:
    """The file of a program of tools/, scripts/ or projects/app/."""
    places = [ROOT / folder / f'{name}.py' for folder in ('tools', 'scripts', 'projects/app')]
    return next(place for place in places if place.is_file())


def call(name: str, *arguments: object, folder: Path) -> Done:
    """Call main of the program ``name`` of tools/, scripts/ or projects/app/ in a folder."""
    forget_runs()
    program = find(name)
    spec = importlib.util.spec_from_file_location(f'tool_{name}', program)
    module = importlib.util.module_from_spec(spec)
    words = [f'{name}.py', *map(str, arguments)]
    before, status = Path.cwd(), 0
    os.chdir(folder)
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:  # which a tool's own tools can take
        try:
            with (
                mock.patch.object(sys, 'argv', words),
                mock.patch.object(sys, 'path', [str(program.parent), *sys.path]),
            ):
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    spec.loader.exec_module(module)
                    module.main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            os.chdir(before)
        return Done(status, *(file.seek(0) or file.read() for file in (out, err)))
