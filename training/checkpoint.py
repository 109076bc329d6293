"""The checkpoint of a run: written so that at any moment a whole one can be found.

It is three files. `last.params` is the network, as any Gluon net loads it. `last.states` is momentum and float32 master
weights, in the same format and by the same names: `momentum:features.0.weight`, in older ones `momentum:3` by the order
of Gluon's Trainer, which are read too. `last.json` is everything else, and size and SHA-256 of the other two. The new
files are written beside the old ones, flushed to the disk and renamed, the JSON last. The old ones stay as
`previous.*`.

`python -m tools.checkpoint` says what one holds and verifies it.
"""
import errno
import logging
import os
import re
import shutil
from contextlib import suppress

from runtime import UserError, listed

import mxnet as mx

from disk import file_digest, flush, written
from training.weights.arrays import finite, network_arrays, save_weights
from training.weights.checksums import read_sealed, write_sealed
from training.weights.description import description_path
from training.weights.params_file import read_params, write_params

LOG = logging.getLogger(__name__)
FORMAT = 2
ARRAYS = ('params', 'states')
KINDS = ('momentum', 'master')  # of the states
DAMAGE = (OSError, ValueError, KeyError, TypeError, RecursionError)  # what reading a damaged file may raise


def names_in(trainer, net):
    """The names, as in a .params file, of the parameters of a Trainer, in its order."""
    names = {parameter: name for name, parameter in net._collect_params_with_prefix().items()}
    return [names[parameter] for parameter in trainer._params]


def trainer_arrays(trainer, net):
    """{'momentum:NAME' and 'master:NAME': NDArray} of the parameters: what NAG keeps beside the weights."""
    arrays, names = {}, names_in(trainer, net)
    for index, state in (trainer._updaters[0].states if trainer._updaters else {}).items():
        for kind, array in zip(KINDS, state if isinstance(state, (list, tuple)) else [state]):
            if array is not None:
                arrays['%s:%s' % (kind, names[index])] = array.as_in_context(mx.cpu())
    return arrays


def set_trainer_arrays(trainer, net, arrays):
    """Give a new Trainer what trainer_arrays has saved, on every device: nothing if it had not made a step yet.

    Raises UserError if it is of another one.
    """
    if not arrays:
        return
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    names, used = names_in(trainer, net), set()
    older = {'%s:%d' % (kind, index): '%s:%s' % (kind, name) for index, name in enumerate(names) for kind in KINDS}
    arrays = {older.get(name, name): array for name, array in arrays.items()}
    for index, parameter in enumerate(trainer._params):
        if parameter.grad_req == 'null':
            continue
        for updater, weight in zip(trainer._updaters, parameter.list_data()):
            fresh = trainer._optimizer.create_state_multi_precision(index, weight)
            for kind, array in zip(KINDS, fresh if isinstance(fresh, (list, tuple)) else [fresh]):
                name = '%s:%s' % (kind, names[index])
                if array is None:
                    continue
                if name not in arrays or arrays[name].shape != array.shape:
                    raise UserError('the checkpoint is of another optimiser: it has no %s %s' % (name, array.shape))
                array[:] = mx.nd.array(arrays[name], dtype=array.dtype)
                used.add(name)
            updater.states[index] = fresh
            updater.states_synced[index] = True
    if used != arrays.keys():
        raise UserError('the checkpoint is of another optimiser: it also has %s' % listed(sorted(arrays.keys() - used)))


def save(folder, net, trainer, facts, description=None):
    """Write `last.*`. facts: what the JSON shall hold (epoch, best, options...). description: of the weights, or None.

    Raises FloatingPointError, and leaves the files that are there, if an array is not finite; OSError if the disk
    refuses.
    """
    arrays = {'params': finite(network_arrays(net)), 'states': finite(trainer_arrays(trainer, net))}
    with written(*(os.path.join(folder, 'last.' + extension) for extension in (*ARRAYS, 'json'))) as (*new, json_new):
        files = {kind: write_params(path, arrays[kind]) for kind, path in zip(ARRAYS, new)}
        if description:  # within an epoch, its errors are not known
            numbers = None if facts['within'] else facts['last']
            facts = dict(facts, weights=description.of(files['params']['sha256'], numbers).content())
        write_sealed(json_new, {'format': FORMAT, 'arrays': files, **facts})
        _keep_previous(folder)


def save_best(folder, title, numbers, net, description=None):
    """Write `<error>-<title>-<epoch>-best.params`, the authors' naming. Returns {'file', 'size', 'sha256'}.

    numbers: of its epoch. description: of the weights, or None. Raises as save does.
    """
    name = '%.4f-%s-%d-best.params' % (numbers['val_top1_error'], title, numbers['epoch'])
    saved = save_weights(os.path.join(folder, name), finite(network_arrays(net)), description, numbers)
    return dict(saved, file=name)


def remove_older_bests(folder, title, best):
    """Keep only this best file of a title, with its description; those of other titles in the folder stay.

    All stay if this one is gone: an earlier best, of a run that continues from `previous.*`.
    """
    found = bests(folder, title)
    for name in found if best in found else ():
        if name != best:
            os.remove(os.path.join(folder, name))
            with suppress(FileNotFoundError):
                os.remove(description_path(os.path.join(folder, name)))


def bests(folder, title):
    """{name: its epoch} of the best files of this title in a folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = [re.fullmatch(r'\d\.\d{4}-%s-(\d+)-best\.params' % re.escape(title), name) for name in names]
    return {match.group(): int(match.group(1)) for match in found if match}


def exists(folder):
    """Whether there is something of a checkpoint in a folder."""
    there = {name for name in ('last.json', 'previous.json', 'last.params', 'last.json.new')
             if os.path.exists(os.path.join(folder, name))}
    # Beside a last.json.new, arrays without a JSON are of a first checkpoint that was killed between its renames.
    return there not in (set(), {'last.json.new'}, {'last.json.new', 'last.params'})


def load(folder):
    """(facts, {'params': {name: array}, 'states': ...}, {'params': path, 'states': ..., 'json': ...}) of the newest
    whole checkpoint, and where it is.

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
            missing = isinstance(error, FileNotFoundError)
            complaints.append('%s.json: %s' % (stem, 'it is missing' if missing else error))
            continue
        if complaints:
            LOG.warning('%s; continuing from the previous checkpoint', '; '.join(complaints))
        return found
    raise UserError('no checkpoint in %s is whole: %s' % (folder, '; '.join(complaints)))


def _load(folder, stem):
    facts, paths = checkpoint_files(folder, stem)
    arrays = {kind: read_params(path) for kind, path in paths.items()}
    return facts, arrays, dict(paths, json=os.path.join(folder, stem + '.json'))


def checkpoint_files(folder, stem):
    """(what a JSON says, {kind: path of the file with the size and the sum that it names})."""
    facts = checkpoint_facts(folder, stem)
    return facts, {kind: _whole(folder, kind, facts['arrays'][kind]) for kind in ARRAYS}


def checkpoint_facts(folder, stem):
    """What a JSON of a checkpoint says. UserError if it is damaged or of something else."""
    path = os.path.join(folder, stem + '.json')
    facts = read_sealed(path)
    if facts is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if facts.get('format', FORMAT) != FORMAT:
        raise UserError('it is not of format %d, which this program reads' % FORMAT)
    if 'arrays' not in facts:
        raise UserError('it is the description of weights, and no checkpoint')
    return facts


def _whole(folder, kind, expected):
    """The file that a JSON means: a crash between two renames may have left it under either name."""
    for stem in ('last', 'previous'):
        path = os.path.join(folder, '%s.%s' % (stem, kind))
        if os.path.isfile(path) and os.path.getsize(path) == expected['size'] and \
                file_digest(path) == expected['sha256']:
            return path
    raise UserError('the .%s file that belongs to it is missing or damaged' % kind)


def _keep_previous(folder):
    """Let previous.* be what last.* is, without a moment at which last.* is missing.

    Where a crash has left new arrays beside an old last.json, that one's arrays are previous.* already and must stay.
    """
    try:
        whole = all(path.endswith('last.' + kind) for kind, path in checkpoint_files(folder, 'last')[1].items())
    except DAMAGE:
        return
    for extension in ARRAYS + ('json',) if whole else ():
        last, previous = (os.path.join(folder, '%s.%s' % (stem, extension)) for stem in ('last', 'previous'))
        if os.path.lexists(previous + '.new'):
            os.remove(previous + '.new')
        try:
            os.link(last, previous + '.new')
        except OSError:  # a file system without hard links
            shutil.copyfile(last, previous + '.new')
            flush(previous + '.new')
        os.replace(previous + '.new', previous)
        with suppress(FileNotFoundError):  # two links to one file are not renamed
            os.remove(previous + '.new')


def place_of(facts):
    """Where in a run a checkpoint was saved."""
    within = facts.get('within')
    if within:
        return 'epoch %d, batch %d' % (within['epoch'], within['batches'] - 1)
    return 'epoch %d' % facts['epoch']
