"""Weights and checkpoints: named arrays plus JSON, no pickle in or out.

A checkpoint is three files: `last.params` (the network, as any Gluon net loads it), `last.states` (momentum and float32
master weights, same format) and `last.json` (everything else, and size and SHA-256 of the other two). It is written so
that at any moment a whole one can be found: the new files are written beside the old, flushed to the disk, and renamed,
the JSON last, while the old ones stay as `previous.*`.
"""
import hashlib
import json
import logging
import os
import shutil

import mxnet as mx
import numpy as np

from training.params_file import read_params

LOG = logging.getLogger(__name__)
FORMAT = 1
ARRAYS = ('params', 'states')


def network_arrays(net):
    """{name: NDArray on the CPU} of a network; what several devices hold is averaged, as save_parameters does."""
    return {name: parameter._reduce() for name, parameter in net._collect_params_with_prefix().items()}


def load_weights(net, path, devices=None):
    """Put a .params file into a network, cast to the types that the network has.

    Raises OSError if there is no file, and ValueError if it is damaged or belongs to another architecture; the message
    says which names or shapes differ, and the network is untouched.
    """
    set_weights(net, read_params(path), path, devices)


def set_weights(net, arrays, path, devices=None):
    """The same, of {name: NumPy array}."""
    parameters = net._collect_params_with_prefix()
    missing, extra = parameters.keys() - arrays.keys(), arrays.keys() - parameters.keys()
    if missing or extra:
        raise ValueError('%s is of another architecture: it lacks %s; it has besides %s'
                         % (path, _some(missing), _some(extra)))
    differing = [name for name, parameter in parameters.items() if not _fits(parameter.shape, arrays[name].shape)]
    if differing:
        raise ValueError('%s is of another architecture: other shapes than the network have %s'
                         % (path, _some('%s %s instead of %s' % (name, arrays[name].shape, parameters[name].shape)
                                        for name in differing)))
    for name, parameter in parameters.items():
        if parameter._data is None:
            parameter.shape = arrays[name].shape
            parameter.initialize(init=mx.init.Zero(), ctx=devices or [mx.cpu()], force_reinit=True)
        parameter.set_data(mx.nd.array(arrays[name].astype(parameter.dtype), dtype=parameter.dtype))


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
    """Give a new Trainer what trainer_arrays has saved, on every device."""
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    for index, parameter in enumerate(trainer._params):
        if parameter.grad_req == 'null':
            continue
        for updater, weight in zip(trainer._updaters, parameter.list_data()):
            fresh = trainer._optimizer.create_state_multi_precision(index, weight)
            for kind, array in zip(('momentum', 'master'), fresh if isinstance(fresh, (list, tuple)) else [fresh]):
                name = '%s:%d' % (kind, index)
                if array is not None and name in arrays:
                    array[:] = mx.nd.array(arrays[name], dtype=array.dtype)
            updater.states[index] = fresh
            updater.states_synced[index] = True


def save(folder, net, trainer, facts):
    """Write `last.*`. facts: what the JSON shall hold (epoch, best, options...).

    Raises FloatingPointError, and leaves the files that are there, if an array is not finite; OSError if the disk
    refuses.
    """
    arrays = {'params': network_arrays(net), 'states': trainer_arrays(trainer)}
    for group in arrays.values():
        for name, array in group.items():
            if not np.isfinite(array.asnumpy()).all():
                raise FloatingPointError('%s is not finite' % name)
    try:
        files = {}
        for kind in ARRAYS:
            path = os.path.join(folder, 'last.%s.new' % kind)
            mx.nd.save(path, arrays[kind])
            files[kind] = dict(_digest(path), file='last.' + kind)
        with open(os.path.join(folder, 'last.json.new'), 'w') as file:
            json.dump({'format': FORMAT, 'arrays': files, **facts}, file, indent=1)
        for extension in ARRAYS + ('json',):
            _flush(os.path.join(folder, 'last.%s.new' % extension))
    except mx.base.MXNetError as error:
        raise OSError('cannot write into %s: %s' % (folder, str(error).splitlines()[-1])) from error
    _keep_previous(folder)
    for extension in ARRAYS + ('json',):
        os.replace(os.path.join(folder, 'last.%s.new' % extension), os.path.join(folder, 'last.' + extension))
    _flush(folder)


def save_best(folder, title, error, epoch, net):
    """Write `<error>-<title>-<epoch>-best.params`, the authors' naming; remove older bests. Returns its name."""
    name = '%.4f-%s-%d-best.params' % (error, title, epoch)
    older = [file for file in os.listdir(folder) if file.endswith('-best.params') and '-%s-' % title in file]
    path = os.path.join(folder, name)
    mx.nd.save(path + '.new', network_arrays(net))
    _flush(path + '.new')
    os.replace(path + '.new', path)
    _flush(folder)
    for file in older:
        if file != name:
            os.remove(os.path.join(folder, file))
    return name


def exists(folder):
    """Whether there is something of a checkpoint in a folder."""
    return any(os.path.exists(os.path.join(folder, name)) for name in ('last.json', 'previous.json', 'last.params'))


def load(folder):
    """(facts, {'params': {name: array}, 'states': ...}) of the newest whole checkpoint.

    A damaged `last.*` is named in a warning and `previous.*` is taken. Raises ValueError if neither is whole, OSError
    if there is none.
    """
    if not exists(folder):
        raise OSError('there is no checkpoint in %s' % folder)
    complaints = []
    for stem in ('last', 'previous'):
        try:
            found = _load(folder, stem)
        except (OSError, ValueError, KeyError, TypeError) as error:
            complaints.append('%s.json: %s' % (stem, error))
            continue
        if complaints:
            LOG.warning('%s; going on from the previous checkpoint', '; '.join(complaints))
        return found
    raise ValueError('no checkpoint in %s is whole: %s' % (folder, '; '.join(complaints)))


def _load(folder, stem):
    facts, paths = _files_of(folder, stem)
    return facts, {kind: read_params(path) for kind, path in paths.items()}


def _files_of(folder, stem):
    """(what a JSON says, {kind: path of the file with the size and the sum that it names})."""
    with open(os.path.join(folder, stem + '.json')) as file:
        facts = json.load(file)
    if facts['format'] != FORMAT:
        raise ValueError('its format is %s, this program reads %s' % (facts['format'], FORMAT))
    return facts, {kind: _whole(folder, kind, facts['arrays'][kind]) for kind in ARRAYS}


def _whole(folder, kind, expected):
    """The file that a JSON means: a crash between two renames may have left it under either name."""
    for stem in ('last', 'previous'):
        path = os.path.join(folder, '%s.%s' % (stem, kind))
        if os.path.isfile(path) and os.path.getsize(path) == expected['size'] and \
                _digest(path)['sha256'] == expected['sha256']:
            return path
    raise ValueError('the .%s file that belongs to it is missing or damaged' % kind)


def _digest(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return {'size': os.path.getsize(path), 'sha256': digest.hexdigest()}


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
    except (OSError, ValueError, KeyError, TypeError):
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
