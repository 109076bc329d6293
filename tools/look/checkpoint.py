"""python -m tools.checkpoint FILE_OR_FOLDER...: what checkpoints and weights hold, verified.

Takes .params and .states files, the .json beside them and the folder of a run. Says what the description of weights
says, and the name, shape and type of every array. Exit code 0, or 2 and a sentence for what is damaged.
"""
import json
import os
import sys

from runtime import UserError, listed, printable, sentence_of

from cli.command import Parser
from cli.exits import attempt, run_script
from disk import file_digest
from training.checkpoint import DAMAGE, checkpoint_files, exists, place_of
from training.weights.arrays import read_verified
from training.weights.checksums import read_sealed
from training.weights.description import read_description


def show(path):
    """Print what a file holds."""
    print('\n'.join(describe(path)))


def files_of(path):
    """What to describe of a path: of a folder the JSON of each checkpoint. OSError if it has none."""
    if not os.path.isdir(path):
        return [path]
    if not exists(path):
        raise OSError(f'there is no checkpoint in {path}')
    last, previous = (os.path.join(path, stem + '.json') for stem in ('last', 'previous'))
    return [last] + [previous] * os.path.exists(previous)


def describe(path):
    """Lines that say what a .params or .states file, or a JSON beside one, holds.

    Raises OSError if any of it is missing, UserError if it is damaged.
    """
    stem, ending = os.path.splitext(path)
    if ending == '.json' and not _is_of_weights_only(path):
        return _describe_checkpoint(*os.path.split(stem))
    return _describe_arrays(stem + '.params' if ending == '.json' else path)


def _is_of_weights_only(path):
    """Whether a JSON is the description of a .params file and nothing else."""
    facts = read_sealed(path)
    return facts is not None and 'weights' in facts and 'arrays' not in facts


def _describe_arrays(path):
    """The lines of a .params or .states file."""
    arrays = read_verified(path)
    description = read_description(path) if path.endswith('.params') else None
    return [f'{path}: {len(arrays)} arrays, {sum(array.size for array in arrays.values())} numbers',
            *(said_by(description) if description else []),
            *(f'  {name} {array.shape} {array.dtype}' for name, array in arrays.items())]


def said_by(description):
    """Lines that say what a Description says, but for what is not known."""
    facts = description._asdict()
    facts['class_names'] = listed(facts['class_names'], most=10)
    return [f'  {name}: {printable(value) if isinstance(value, str) else json.dumps(value)}'
            for name, value in facts.items() if value not in (None, '', {})]


def _describe_checkpoint(folder, stem):
    """The lines of a JSON, of the arrays it belongs to, and of the best file, which a later best one may replace."""
    try:
        facts, paths = checkpoint_files(folder, stem)
        lines = [f'{os.path.join(folder, stem)}.json: {place_of(facts)}']
        for kind, path in paths.items():
            title, *names = _describe_arrays(path)
            lines += [title, '  %(size)d bytes, SHA-256 %(sha256)s: verified' % facts['arrays'][kind], *names]
        if stem == 'last':
            lines += _describe_best(folder, facts.get('best') or {})
    except DAMAGE as error:
        raise UserError(f'{stem}.json in {folder or "."}: {sentence_of(error)}') from error
    return lines + [f'{name}: {json.dumps(facts.get(name))}' for name in ('best', 'last', 'within', 'options')]


def _describe_best(folder, best):
    """The lines of the weights of the best epoch, if there are any."""
    if not isinstance(best, dict) or os.path.basename(best.get('file', '')) != best.get('file', ''):
        raise UserError('its best file is none')
    if 'file' not in best:
        return []
    path = os.path.join(folder, best['file'])
    if file_digest(path) != best['sha256']:
        raise UserError(f'{best["file"]} is damaged')
    description = read_description(path, best['sha256'])
    return [f'{path}: of the best epoch, SHA-256 {best["sha256"]}: verified',
            *(said_by(description) if description else [])]


def main(argv=None):
    """Describe what is named."""
    parser = Parser(description='Say what checkpoints and weights hold, and verify them.')
    parser.add_argument('paths', nargs='+', metavar='FILE_OR_FOLDER', help='.params, .states, .json or the folder')
    files, all_found = attempt(files_of, parser.parse_args(argv).paths)
    _, all_whole = attempt(show, sum(files, []))
    if not (all_found and all_whole):
        sys.exit(2)


if __name__ == '__main__':
    sys.exit(run_script(main))
