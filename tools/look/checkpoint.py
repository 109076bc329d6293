"""python -m tools.checkpoint FILE_OR_FOLDER...: what checkpoints and weights hold, verified.

Takes .params and .states files, the .json of a checkpoint and the folder of a run. Exit code 0, or 2 and a sentence for
what is damaged.
"""
import argparse
import json
import os
import sys

from runtime import UserError

from training.checkpoint import DAMAGE, checkpoint_files, exists, place_of
from training.weights.disk import file_digest
from training.weights.params_file import read_params


def describe(path):
    """Lines that say what a .params or .states file, a checkpoint's JSON, or a folder with checkpoints holds.

    Raises one of DAMAGE if any of it is missing or damaged.
    """
    if os.path.isdir(path):
        if not exists(path):
            raise OSError('there is no checkpoint in %s' % path)
        stems = [stem for stem in ('last', 'previous') if stem == 'last' or os.path.exists(
            os.path.join(path, 'previous.json'))]
        return [line for stem in stems for line in describe(os.path.join(path, stem + '.json'))]
    if path.endswith('.json'):
        return _describe_checkpoint(os.path.dirname(path), os.path.basename(path)[:-len('.json')])
    arrays = read_params(path)
    return ['%s: %d arrays, %d numbers' % (path, len(arrays), sum(array.size for array in arrays.values()))] + [
        '  %s %s %s' % (name, array.shape, array.dtype) for name, array in arrays.items()]


def _describe_checkpoint(folder, stem):
    """The lines of a JSON, of the arrays it belongs to, and of the best file, which a later best one may replace."""
    try:
        facts, paths = checkpoint_files(folder, stem)
        best, lines = facts.get('best') or {}, ['%s: %s' % (os.path.join(folder, stem + '.json'), place_of(facts))]
        for kind, path in paths.items():
            title, *names = describe(path)
            lines += [title, '  %(size)d bytes, SHA-256 %(sha256)s: verified' % facts['arrays'][kind], *names]
        if not isinstance(best, dict) or os.path.basename(best.get('file', '')) != best.get('file', ''):
            raise UserError('its best file is none')
        if 'file' in best and stem == 'last' and file_digest(os.path.join(folder, best['file'])) != best['sha256']:
            raise UserError('%s is damaged' % best['file'])
    except DAMAGE as error:
        raise UserError('%s.json in %s: %s' % (stem, folder or '.', error)) from error
    return lines + ['%s: %s' % (name, json.dumps(facts.get(name))) for name in ('best', 'last', 'within', 'options')]


def main(argv=None):
    """Describe what is named; returns the exit code."""
    parser = argparse.ArgumentParser(description='Say what checkpoints hold, and verify them.')
    parser.add_argument('paths', nargs='+', metavar='FILE_OR_FOLDER', help='.params, .states, .json or the folder')
    code = 0
    for path in parser.parse_args(argv).paths:
        try:
            print('\n'.join(describe(path)))
        except DAMAGE as error:
            print('error: %s' % error, file=sys.stderr)
            code = 2
    return code


if __name__ == '__main__':
    sys.exit(main())
