"""python -m tools.half FILE OUT.params: weights in half the space, in float16 except BatchNorm's, to share.

evaluate.py and the tools read them as any other file: float32 networks take float16 weights, as they take the authors'.
The description of the weights goes with them. Prints the size and the SHA-256.
"""
import os
import sys

from runtime import UserError

import numpy as np

from cli.command import Parser
from cli.exits import run_script
from cli.trained import find_description
from training.weights.arrays import read_verified, save_weights
from training.weights.description import description_path

BATCH_NORM = ('gamma', 'beta', 'running_mean', 'running_var')  # a variance of 1e-8 would become zero


def halved(arrays):
    """{name: array} with float16 instead of float32. UserError if a number would become infinite."""
    if not any('.' in name for name in arrays):
        raise UserError('its names are those of a symbol, not of a network of get_model, so it stays as it is')
    small = {name: array.astype('float16') if array.dtype == 'float32' and name.split('.')[-1] not in BATCH_NORM
             else array for name, array in arrays.items()}
    broken = [name for name in arrays if not np.isfinite(small[name]).all()]
    if broken:
        raise UserError(f'{broken[0]} holds what is not a number, or one too large for float16')
    return small


def main(argv=None):
    """Write the file; returns {'size', 'sha256'}."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('file', help='a .params file')
    parser.add_argument('out', help='the .params file to write; must not exist')
    args = parser.parse_args(argv)
    if not args.out.endswith('.params'):
        raise UserError(f'{args.out}: its name must end in .params')
    arrays = read_verified(args.file)
    for path in (args.out, description_path(args.out)):
        if os.path.exists(path):
            raise UserError(f'{path} exists: choose another name, or remove it')
    with np.errstate(over='ignore'):
        small = halved(arrays)
    written = save_weights(args.out, small, find_description(args.file))
    print('%(size)d bytes, SHA-256 %(sha256)s' % written)
    return written


if __name__ == '__main__':
    sys.exit(run_script(main))
