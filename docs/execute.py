"""Execute docs/tour.ipynb and keep its outputs in it: the pages, and sites that host code, show it with them.

    python docs/execute.py
    python docs/execute.py --out elsewhere.ipynb

They are kept because a tour is read far more often than it is run. They may grow old, not wrong: the tests execute the
cells anew, wherever they run, and hold that each cell still answers in the same way.
"""

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).resolve().parent / 'tour.ipynb'
SECONDS = 900  # for a cell, on a machine that does something else


def execute() -> nbformat.NotebookNode:
    """Run the cells in a new kernel of this Python, without what would differ at every run.

    Raises:
        nbclient.exceptions.CellExecutionError: For a cell that fails.
    """
    notebook = nbformat.read(TOUR, as_version=4)
    NotebookClient(notebook, timeout=SECONDS, kernel_name='python3').execute()
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)  # times
        if cell.cell_type == 'code':  # what packages print while they are imported
            cell.outputs = [output for output in cell.outputs if output.get('name') != 'stderr']
    return notebook


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=TOUR, help='another file than docs/tour.ipynb')
    args = parser.parse_args()
    nbformat.write(execute(), args.out)
