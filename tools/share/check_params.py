"""python -m tools.check_params [FILE ...]: score weights, beside what is said of them.

Without a file: those in params/. The table has the top-1 error that the description of the weights has, and the one
measured now. `mini` is that on fashion-mnist-mini, which is in this repository. A data set that is not there is
fetched, as by evaluate.py; without it the files of that set are named and not scored. --data-dir or --rec-val says
where the images of weights of train_imagenet.py are. Exit code 1 if an error differs by more than --tolerance points,
2 if no file could be scored or one could not be read.
"""
import glob
import os
import sys
from functools import partial

from runtime import UserError, printable, sentence_of

import evaluate
from cli.command import Parser
from cli.exits import attempt, run_script
from cli.kinds import at_least
from model import MODELS
from tools import ROOT
from tools.markdown import markdown_table
from training.weights.description import read_description

HEAD = ('file', 'network', 'unit', 'blocks', 'epoch', 'described (%)', 'measured (%)', 'mini (%)')
PARAMS = os.path.join(ROOT, 'params')
MINI = {'fashion-mnist': 'fashion-mnist-mini'}  # data set -> the part of it that is in this repository


def error_of(path, *flags):
    """Top-1 error in percent, or None, after saying why, where the data cannot be had."""
    try:
        return evaluate.score(evaluate.parse_args(['--params', path, *flags]))['top1_error']
    except OSError as error:
        print(f'{printable(path)} is not scored: {sentence_of(error)}', file=sys.stderr)
        return None


def error_on_own_data(path, found, images):
    """The same on the data set that the file was trained on, of which found, its description, has the name."""
    if found.dataset != 'imagenet':
        return error_of(path)
    if images:
        return error_of(path, *images)
    print(f'{printable(path)} is not scored: --data-dir or --rec-val must say where its images are', file=sys.stderr)
    return None


def row(path, images):
    """A dict of HEAD for a file of weights. UserError if it has no description.

    images: the flags that say where those of ImageNet are, or None.
    """
    found = read_description(path)
    if not os.path.exists(path):
        raise UserError(f'there is no {path}')
    if found is None:
        raise UserError(f'{path} has no description')
    described = found.errors.get('val_top1_error')
    mini = MINI.get(found.dataset)
    unit = found.options.get('act_type') or MODELS[found.network].unit
    name = os.path.basename(path) if os.path.dirname(path) == PARAMS else path
    values = (name, found.network, unit, found.options.get('blocks'), found.epoch,
              None if described is None else 100 * described, error_on_own_data(path, found, images),
              error_of(path, '--dataset', mini) if mini else None)
    return dict(zip(HEAD, values))


def markdown(rows):
    return markdown_table(HEAD, [['-' if value is None else f'{value:.2f}' if isinstance(value, float) else str(value)
                                  for value in row.values()] for row in rows])


def main(argv=None):
    """Print the table; returns its rows."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('files', nargs='*', metavar='FILE', help='.params files (default: those in params/)')
    parser.add_argument('--tolerance', type=at_least(0, float), default=0.1,
                        help='in points, for weights in float16 (default: 0.1)')
    images = parser.add_mutually_exclusive_group()
    images.add_argument('--data-dir', dest='images', type=lambda path: ['--data-dir', path], metavar='DIR',
                        help='its val/ has the images of weights of train_imagenet.py')
    images.add_argument('--rec-val', dest='images', type=lambda path: ['--use-rec', '--rec-val', path], metavar='FILE',
                        help='a RecordIO file of them')
    args = parser.parse_args(argv)
    files = args.files or sorted(glob.glob(os.path.join(PARAMS, '*.params')))
    rows, all_read = attempt(partial(row, images=args.images), files)
    if rows:
        print(markdown(rows))
    differing = [row['file'] for row in rows if None not in (row['described (%)'], row['measured (%)'])
                 and abs(row['described (%)'] - row['measured (%)']) > args.tolerance]
    if rows and all(row[name] is None for row in rows for name in HEAD[-2:]):
        raise OSError('none of the files is scored')
    if differing:
        raise FloatingPointError('other errors than described: ' + ', '.join(differing))
    if not all_read:
        sys.exit(2)
    return rows


if __name__ == '__main__':
    sys.exit(run_script(main))
