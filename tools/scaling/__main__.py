"""How far training with parameter servers scales: measured on hosts in network namespaces, fitted, and predicted.

    python -m tools.scaling measure --json FILE            (Linux, superuser; ten minutes on cores that do nothing else)
    python -m tools.scaling draw logs/scaling.json --out docs/scaling.png

The first sums the gradients of ATAC-ResNet-50 over workers on links of several speeds, and trains it on two of them.
The second prints the tables of docs/scaling.md and draws its figure. cost.py has the formula.
"""
import sys

import runtime  # noqa: F401  (before mxnet)

from cli.command import Parser
from cli.exits import run_script
from cli.kinds import new_file
from tools.scaling.draw import draw
from tools.scaling.measure import measure


def parse_args(argv=None):
    parser = Parser(description='How far training with parameter servers scales.')
    commands = parser.add_subparsers(dest='command', required=True)
    measuring = commands.add_parser('measure', help='measure on hosts in network namespaces')
    measuring.add_argument('--json', type=new_file, required=True, metavar='FILE', help='where the seconds go')
    drawing = commands.add_parser('draw', help='print the tables and draw the figure')
    drawing.add_argument('measured', metavar='FILE', help='what was measured')
    drawing.add_argument('--out', required=True, metavar='FILE', help='.png or .svg')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    return measure(args.json) if args.command == 'measure' else draw(args.measured, args.out)


if __name__ == '__main__':
    sys.exit(run_script(main))
