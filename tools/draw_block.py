"""Draw the SR block, as the README shows it.

python tools/draw_block.py docs/sr_block.png
"""

import argparse
from pathlib import Path

from mmseg_sr.errors import UserError, command
from mmseg_sr.visualization.diagram import block_diagram


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT.png', help='picture to write; .svg and .pdf work too')
    args = parser.parse_args()
    if not args.out.parent.is_dir():
        raise UserError(f'no such folder: {args.out.parent}')
    if not args.out.suffix or args.out.is_dir():
        raise UserError(f'{args.out} is no name of a picture: OUT.png, .svg or .pdf')
    try:
        block_diagram().savefig(args.out, dpi=120)
    except ValueError as error:  # an ending that matplotlib cannot write
        raise UserError(f'cannot draw {args.out}: {error}') from error
    print(args.out)


if __name__ == '__main__':
    main()
