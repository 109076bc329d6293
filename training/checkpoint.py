"""Weights and checkpoints: named arrays plus JSON, no pickle in or out.

A checkpoint is three files: `last.params` (the network, as any Gluon net loads it), `last.states` (momentum and float32
master weights, same format) and `last.json` (everything else, and size and SHA-256 of the other two). It is written so
that at any moment a whole one can be found: the new files are written beside the old, flushed to the disk, and renamed,
the JSON last, while the old ones stay as `previous.*`.

    python -m training.checkpoint FILE_OR_FOLDER...

says what a .params file, the .json of a checkpoint or the folder of a run holds, and verifies it: exit code 0, or 2 and
a sentence for what is damaged.
"""
import argparse
import hashlib
import json
import logging
import os
import re
import shutil
import sys
from contextlib import contextmanager, suppress

from runtime import UserError

import mxnet as mx
import numpy as np

from training.params_file import read_params, write_params

LOG = logging.getLogger(__name__)
FORMAT = 2
ARRAYS = ('params', 'states')
CHECKSUMS = 'SHA256SUMS'
DAMAGE = (OSError, ValueError, KeyError, TypeError, RecursionError)  # what reading a damaged file may raise


def network_arrays(net):
    """{name: NDArray on the CPU} of a network, of which several devices hold the same."""
    return {name: parameter.list_data()[0].as_in_context(mx.cpu())
            for name, parameter in net._collect_params_with_prefix().items()}


def load_weights(net, path, devices=None):
    """Put a .params file into a network, cast to the types that the network has.

    Raises OSError if there is no file, FloatingPointError if a number is not finite, and UserError if it is damaged,
    if a file SHA256SUMS beside it has another checksum for it, or if it belongs to another architecture; the message
    says which names or shapes differ, and the network is untouched.
    """
    arrays = read_params(path)
    published = _published_checksum(path)
    if published and _digest(path) != published:
        raise UserError('%s is damaged, or another file than it was: its checksum is not that of SHA256SUMS beside it'
                        % path)
    set_weights(net, arrays, path, devices)


def set_weights(net, arrays, path, devices=None):
    """The same, of {name: NumPy array}; path: for messages."""
    parameters = net._collect_params_with_prefix()
    missing, extra = parameters.keys() - arrays.keys(), arrays.keys() - parameters.keys()
    if missing or extra:
        parts = ['it lacks ' + _some(missing)] * bool(missing) + ['it has besides ' + _some(extra)] * bool(extra)
        raise UserError('%s is of another architecture: %s; is that the network, unit and depth of its training?'
                        % (path, '; '.join(parts)))
    differing = [name for name, parameter in parameters.items() if not _fits(parameter.shape, arrays[name].shape)]
    if differing:
        raise UserError('%s is of another architecture: other shapes than the network have %s'
                        % (path, _some('%s %s instead of %s' % (name, arrays[name].shape, parameters[name].shape)
                                       for name in differing)))
    with np.errstate(over='ignore'):
        arrays = {name: arrays[name].astype(parameter.dtype) for name, parameter in parameters.items()}
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:  # which the logits may hide, as ReLU makes 0 of NaN on a CPU
        raise FloatingPointError('%s holds numbers that are not finite: %s' % (path, _some(broken)))
    for name, parameter in parameters.items():
        if parameter._data is None:
            parameter.shape = arrays[name].shape
            parameter.initialize(init=mx.init.Zero(), ctx=devices or [mx.cpu()], force_reinit=True)
        parameter.set_data(mx.nd.array(arrays[name], dtype=parameter.dtype))


def _published_checksum(path):
    """What a file SHA256SUMS (as sha256sum writes it) beside a file says of it, or None."""
    with suppress(FileNotFoundError), open(os.path.join(os.path.dirname(path), CHECKSUMS), errors='replace') as file:
        return {line[66:].rstrip('\n'): line[:64] for line in file}.get(os.path.basename(path))


def _fits(expected, shape):
    """Whether a shape is the expected one, whose zeros stand for sizes that the network does not know yet."""
    return len(expected) == len(shape) and all(wanted in (0, size) for wanted, size in zip(expected, shape))


def _some(names):
    names = sorted(names)
    return (', '.join(names[:4]) + (' and %d more' % (len(names) - 4) if len(names) > 4 else '')) or 'nothing'


def trainer_arrays(trainer):
    """{'momentum:i' and 'master:i': NDArray} of the i-th parameter: what NAG keeps beside the weights."""
    arrays = {}
    for index, state in (trainer._updaters[0].states if trainer._updaters else {}).items():
        for kind, array in zip(('momentum', 'master'), state if isinstance(state, (list, tuple)) else [state]):
            if array is not None:
                arrays['%s:%d' % (kind, index)] = array.as_in_context(mx.cpu())
    return arrays


def set_trainer_arrays(trainer, arrays):
    """Give a new Trainer what trainer_arrays has saved, on every device. Raises UserError if it is of another one."""
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    used = set()
    for index, parameter in enumerate(trainer._params):
        if parameter.grad_req == 'null':
            continue
        for updater, weight in zip(trainer._updaters, parameter.list_data()):
            fresh = trainer._optimizer.create_state_multi_precision(index, weight)
            for kind, array in zip(('momentum', 'master'), fresh if isinstance(fresh, (list, tuple)) else [fresh]):
                name = '%s:%d' % (kind, index)
                if array is None:
                    continue
                if name not in arrays or arrays[name].shape != array.shape:
                    raise UserError('the checkpoint is of another optimiser: it has no %s %s' % (name, array.shape))
                array[:] = mx.nd.array(arrays[name], dtype=array.dtype)
                used.add(name)
            updater.states[index] = fresh
            updater.states_synced[index] = True
    if used != arrays.keys():
        raise UserError('the checkpoint is of another optimiser: it has besides %s' % _some(arrays.keys() - used))


def save(folder, net, trainer, facts):
    """Write `last.*`. facts: what the JSON shall hold (epoch, best, options...).

    Raises FloatingPointError, and leaves the files that are there, if an array is not finite; OSError if the disk
    refuses.
    """
    arrays = {'params': _finite(network_arrays(net)), 'states': _finite(trainer_arrays(trainer))}
    paths = {extension: os.path.join(folder, 'last.' + extension) for extension in ARRAYS + ('json',)}
    with _sentence_for(folder, [path + '.new' for path in paths.values()]):
        files = {kind: write_params(paths[kind] + '.new', arrays[kind]) for kind in ARRAYS}
        with open(paths['json'] + '.new', 'w') as file:
            json.dump(_sealed({'format': FORMAT, 'arrays': files, **facts}), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        _keep_previous(folder)
        for path in paths.values():
            os.replace(path + '.new', path)
        _flush(folder)


def save_best(folder, title, error, epoch, net):
    """Write `<error>-<title>-<epoch>-best.params`, the authors' naming. Returns {'file', 'size', 'sha256'}.

    Raises as save does.
    """
    name = '%.4f-%s-%d-best.params' % (error, title, epoch)
    return dict(write_whole(os.path.join(folder, name), _finite(network_arrays(net))), file=name)


def write_whole(path, arrays):
    """Write a .params file whole or not at all. Returns {'size', 'sha256'}; OSError if the disk refuses."""
    folder = os.path.dirname(path) or '.'
    with _sentence_for(folder, [path + '.new']):
        written = write_params(path + '.new', arrays)
        os.replace(path + '.new', path)
        _flush(folder)
    return written


def remove_older_bests(folder, title, best):
    """Leave the best file of this name alone; those of other titles in the folder stay."""
    with _sentence_for(folder):
        for name in bests(folder, title):
            if name != best:
                os.remove(os.path.join(folder, name))


def bests(folder, title):
    """The names of the best files of this title in a folder."""
    pattern = re.compile(r'\d\.\d{4}-%s-\d+-best\.params' % re.escape(title))
    return list(filter(pattern.fullmatch, os.listdir(folder))) if os.path.isdir(folder) else []


def _finite(arrays):
    """{name: NumPy array} of {name: NDArray}; FloatingPointError if a number is not finite."""
    arrays = {name: array.asnumpy() for name, array in arrays.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise FloatingPointError('%s is not finite' % name)
    return arrays


@contextmanager
def _sentence_for(folder, unfinished=()):
    """What the disk refuses becomes an OSError that names the folder, and unfinished files are removed."""
    try:
        yield
    except OSError as error:
        for path in unfinished:
            with suppress(OSError):
                os.remove(path)
        raise OSError('cannot save into %s: %s' % (folder, error.strerror or error)) from error


def _sealed(facts):
    """Facts with a checksum of themselves, so that a damaged number in the JSON is noticed."""
    content = {name: value for name, value in facts.items() if name != 'sha256'}
    return dict(content, sha256=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())


def exists(folder):
    """Whether there is something of a checkpoint in a folder."""
    return any(os.path.exists(os.path.join(folder, name)) for name in ('last.json', 'previous.json', 'last.params'))


def load(folder):
    """(facts, {'params': {name: array}, 'states': ...}) of the newest whole checkpoint.

    A damaged `last.*` is named in a warning and `previous.*` is taken. Raises UserError if neither is whole, OSError
    if there is none.
    """
    if not exists(folder):
        raise OSError('there is no checkpoint in %s' % folder)
    complaints = []
    for stem in ('last', 'previous'):
        try:
            found = _load(folder, stem)
        except DAMAGE as error:
            complaints.append('%s.json: %s' % (stem, error))
            continue
        if complaints:
            LOG.warning('%s; going on from the previous checkpoint', '; '.join(complaints))
        return found
    raise UserError('no checkpoint in %s is whole: %s' % (folder, '; '.join(complaints)))


def _load(folder, stem):
    facts, paths = _files_of(folder, stem)
    return facts, {kind: read_params(path) for kind, path in paths.items()}


def _files_of(folder, stem):
    """(what a JSON says, {kind: path of the file with the size and the sum that it names})."""
    with open(os.path.join(folder, stem + '.json')) as file:
        facts = json.load(file)
    if not isinstance(facts, dict) or facts.get('format', FORMAT) != FORMAT:
        raise UserError('it is not of format %d, which this program reads' % FORMAT)
    if facts != _sealed(facts):
        raise UserError('it is damaged: its checksum is another')
    return facts, {kind: _whole(folder, kind, facts['arrays'][kind]) for kind in ARRAYS}


def _whole(folder, kind, expected):
    """The file that a JSON means: a crash between two renames may have left it under either name."""
    for stem in ('last', 'previous'):
        path = os.path.join(folder, '%s.%s' % (stem, kind))
        if os.path.isfile(path) and os.path.getsize(path) == expected['size'] and \
                _digest(path) == expected['sha256']:
            return path
    raise UserError('the .%s file that belongs to it is missing or damaged' % kind)


def _digest(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def _flush(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _keep_previous(folder):
    """Let previous.* be what last.* is, without a moment at which last.* is missing.

    Where a crash has left new arrays beside an old last.json, that one's arrays are previous.* already and must stay.
    """
    try:
        whole = all(path.endswith('last.' + kind) for kind, path in _files_of(folder, 'last')[1].items())
    except DAMAGE:
        return
    for extension in ARRAYS + ('json',) if whole else ():
        last, previous = (os.path.join(folder, '%s.%s' % (stem, extension)) for stem in ('last', 'previous'))
        if os.path.exists(previous + '.new'):
            os.remove(previous + '.new')
        try:
            os.link(last, previous + '.new')
        except OSError:  # a file system without hard links
            shutil.copyfile(last, previous + '.new')
        os.replace(previous + '.new', previous)


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
        facts, paths = _files_of(folder, stem)
        best, lines = facts.get('best') or {}, ['%s: %s' % (os.path.join(folder, stem + '.json'), place_of(facts))]
        for kind, path in paths.items():
            title, *names = describe(path)
            lines += [title, '  %(size)d bytes, SHA-256 %(sha256)s: verified' % facts['arrays'][kind], *names]
        if not isinstance(best, dict) or os.path.basename(best.get('file', '')) != best.get('file', ''):
            raise UserError('its best file is none')
        if 'file' in best and stem == 'last' and _digest(os.path.join(folder, best['file'])) != best['sha256']:
            raise UserError('%s is damaged' % best['file'])
    except DAMAGE as error:
        raise UserError('%s.json in %s: %s' % (stem, folder or '.', error)) from error
    return lines + ['%s: %s' % (name, json.dumps(facts.get(name))) for name in ('best', 'last', 'within', 'options')]


def place_of(facts):
    """Where in a run a checkpoint was saved."""
    within = facts.get('within')
    return 'epoch %d, batch %d' % (within['epoch'], within['batches'] - 1) if within else 'epoch %s' % facts['epoch']


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
