"""python -m tools.describe FILE.params RUN.log: the description of weights that have none, from the log of their run.

Weights of today's scripts have one. It is written as FILE.json once the network that it names has taken the weights.
Its errors are those of the last epoch, or of --epoch N.
"""
import os
import sys

from runtime import UserError

import mxnet as mx

from cli.build import build_network, describe
from cli.command import Parser
from cli.exits import run_script
from cli.trained import args_of_run, class_names_of
from disk import file_digest, written
from training.logs import TIME_STAMP, read_run
from training.weights.arrays import load_weights
from training.weights.checksums import write_sealed
from training.weights.description import description_from_json, description_path, read_description

COMMAND = 'Command: '


def facts_of(record):
    """{'command', 'commit'} of the first start of a run, as far as its log names them."""
    with open(record.path, errors='replace') as file:
        commands = [line[TIME_STAMP + len(COMMAND):].strip() for line in file if line[TIME_STAMP:].startswith(COMMAND)]
    named = {'command': list(filter(None, commands)), 'commit': record.commits}
    return {name: values[0] for name, values in named.items() if values}


def check_content(content, log):
    """UserError that names the log if a description that was made from it is none that is read."""
    try:
        description_from_json(content, log)
    except UserError as error:
        raise UserError(f'{log} is damaged: {error}') from error


def main(argv=None):
    """Write the description; returns it."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('params', help='a .params file')
    parser.add_argument('log', help='the .log of its run')
    parser.add_argument('--epoch', type=int, help='of these weights (default: the last one)')
    args = parser.parse_args(argv)
    if not args.params.endswith('.params'):
        raise UserError(f'{args.params}: its name must end in .params')
    path = description_path(args.params)
    record = read_run(args.log)
    if os.path.exists(os.path.splitext(args.params)[0] + '.states'):
        raise UserError(f'{args.params} is of a checkpoint, which says itself what it holds')
    if os.path.exists(path):
        raise UserError(f'{args.params} is described already' if read_description(args.params) else
                        f'{path} exists, and is not its description: remove it first')
    if not record.epochs:
        raise UserError(f'{args.log} holds no whole epoch')
    epoch = len(record.epochs) - 1 if args.epoch is None else args.epoch
    if not 0 <= epoch < len(record.epochs):
        raise UserError(f'{args.log} holds the epochs 0 to {len(record.epochs) - 1}')
    if not {'val_top1_error', 'val_top5_error'} <= record.epochs[epoch].keys():
        raise UserError(f'{args.log} is damaged: its epoch {epoch} lacks an error')
    run = args_of_run(record.options)
    try:
        net = build_network(run)
        found = describe(run, class_names_of(run))._replace(version='', **facts_of(record))
    except (AttributeError, TypeError, mx.MXNetError, UserError) as error:  # an option of another kind
        raise UserError(f'{args.log}: its options make no network: {error}') from error
    load_weights(net, args.params)
    found = found.of(file_digest(args.params), record.epochs[epoch])
    check_content(found.content(), args.log)
    with written(path) as (new,):
        write_sealed(new, {'weights': found.content()})
    print('written:', path)
    return found


if __name__ == '__main__':
    sys.exit(run_script(main))
