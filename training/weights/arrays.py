"""The weights of a network: out of it, into a .params file, and back. Named arrays, no pickle."""
import os
from contextlib import suppress

import mxnet as mx
import numpy as np

from .checksums import write_sealed
from .description import description_path
from .ground import UserError, file_digest, listed, open_text, written
from .params_file import read_params, write_params
from .schemes import with_our_names

CHECKSUMS = 'SHA256SUMS'
MOST = 1 << 24  # bytes of it


def network_arrays(net):
    """{name: NDArray on the CPU} of a network, of which several devices hold the same."""
    return {name: parameter.list_data()[0].as_in_context(mx.cpu())
            for name, parameter in net._collect_params_with_prefix().items()}


def load_weights(net, path, devices=None):
    """Put a .params file into a network, cast to the types that the network has.

    Raises OSError if there is no file. Raises UserError if it is damaged, if a file SHA256SUMS beside it has another
    checksum for it, if a number is not finite, or if it belongs to another architecture. The message says which names
    or shapes differ, and the network is untouched.
    """
    set_weights(net, weights_for(net, path), path, devices)


def read_verified(path):
    """{name: NumPy array} of a .params file. UserError if it is damaged, by its content or by SHA256SUMS beside it."""
    arrays = read_params(path)
    published = _published_checksum(path)
    if published and file_digest(path) != published:
        raise UserError('%s is damaged, or another file than it was: its checksum is not that of SHA256SUMS beside it'
                        % path)
    return arrays


def weights_for(net, path):
    """{name: NumPy array} of a .params file, by the names that a network has. Raises as load_weights does."""
    return with_our_names(read_verified(path), net, path)


def set_weights(net, arrays, path, devices=None):
    """Put {name: NumPy array} into a network, as load_weights does; path: for messages."""
    parameters = net._collect_params_with_prefix()
    missing, extra = parameters.keys() - arrays.keys(), arrays.keys() - parameters.keys()
    if missing or extra:
        parts = [says + listed(sorted(names))
                 for says, names in (('it lacks ', missing), ('it also has ', extra)) if names]
        raise UserError('%s is of another architecture: %s; is that the network, unit and depth of its training?'
                        % (path, '; '.join(parts)))
    differing = [name for name, parameter in parameters.items() if not _fits(parameter.shape, arrays[name].shape)]
    if differing:
        raise UserError('%s is of another architecture: other shapes than the network have %s'
                        % (path, listed(['%s %s instead of %s' % (name, arrays[name].shape, parameters[name].shape)
                                         for name in sorted(differing)])))
    with np.errstate(over='ignore'):
        arrays = {name: arrays[name].astype(parameter.dtype) for name, parameter in parameters.items()}
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:  # which the logits may hide, as ReLU makes 0 of NaN on a CPU
        raise UserError('%s holds numbers that are not finite: %s' % (path, listed(sorted(broken))))
    for name, parameter in parameters.items():
        if parameter._data is None:
            parameter.shape = arrays[name].shape
            parameter.initialize(init=mx.init.Zero(), ctx=devices or [mx.cpu()], force_reinit=True)
        parameter.set_data(mx.nd.array(arrays[name], dtype=parameter.dtype))


def _published_checksum(path):
    """What a file SHA256SUMS (as sha256sum writes it) beside a file says of it, or None."""
    with suppress(FileNotFoundError), open_text(os.path.join(os.path.dirname(path), CHECKSUMS), MOST) as file:
        return {line[66:].rstrip('\n'): line[:64] for line in file}.get(os.path.basename(path))


def _fits(expected, shape):
    """Whether a shape is the expected one, whose zeros mean sizes that the network does not know yet."""
    return len(expected) == len(shape) and all(wanted in (0, size) for wanted, size in zip(expected, shape))


def finite(arrays):
    """{name: NumPy array} of {name: NDArray}; FloatingPointError if a number is not finite."""
    arrays = {name: array.asnumpy() for name, array in arrays.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise FloatingPointError('%s is not finite' % name)
    return arrays


def save_weights(path, arrays, description=None, numbers=None):
    """Write a .params file, and its description beside it, each whole or not at all. Returns {'size', 'sha256'}.

    description: a Description, which is said to be of this file and, if they are given, of these numbers of an epoch.
    Raises OSError if the disk refuses.
    """
    beside = [description_path(path)] if description else []  # first, so that the weights are never without it
    with written(*beside, path) as (*of_description, new):
        saved = write_params(new, arrays)
        for name in of_description:
            write_sealed(name, {'weights': description.of(saved['sha256'], numbers).content()})
    return saved
