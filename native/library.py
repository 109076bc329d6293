"""Which compiled library of the operator may be loaded, or why none is. Needs no MXNet.

The operator reads what MXNet keeps to itself, so it belongs to one libmxnet.so, whose SHA-256 is compared. Beside the
library is a record of what its check has passed, on which kind of processor; only a library that equals its record is
loaded. Both are in built/, named by a hash of sources and MXNet: another source or another MXNet is another library.
"""
import hashlib
import importlib.util
import json
import os

import runtime

from disk import file_digest

SWITCH, ONEDNN = 'ATAC_NATIVE', 'MXNET_MKLDNN_ENABLED'
# SHA-256 of libmxnet.so -> the wheel that it is of.
WHEELS = {'b4e7f881e385e342fd6b8316b34fde03ccaaf74d649999de2333ee5b4d8f2ba0': 'mxnet 1.9.1 for CPUs'}
HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE, FOLDER = os.path.join(HERE, 'product.cc'), os.path.join(HERE, 'built')
SOURCES = [SOURCE, *(os.path.join(HERE, name) for name in ('build.py', 'check.py'))]  # how it is compiled, and checked
INSTRUCTIONS = ('avx2', 'avx512f', 'avx512_bf16')  # by which oneDNN chooses layouts


def mxnet_folder():
    """Where the package mxnet is, or None; it is looked for and not imported."""
    spec = importlib.util.find_spec('mxnet')
    return os.path.dirname(spec.origin) if spec and spec.origin else None


def place():
    """(path at which the library for this MXNet belongs, ''), or (None, why there can be none)."""
    libmxnet = os.path.join(mxnet_folder() or '', 'libmxnet.so')
    if not os.path.isfile(libmxnet):
        return None, 'there is no libmxnet.so'
    wheel = file_digest(libmxnet)
    if wheel not in WHEELS:
        return None, 'it is made for %s, and this is another MXNet' % ' or '.join(WHEELS.values())
    all_of_it = hashlib.sha256(''.join([*map(file_digest, SOURCES), wheel]).encode()).hexdigest()
    return os.path.join(FOLDER, 'product-%s.so' % all_of_it[:16]), ''


def processor():
    """What the layouts, and so the check, depend on."""
    model, flags = runtime.processor()
    return [model, *(name for name in INSTRUCTIONS if name in flags)]


def record_of(path):
    """What is known of a library, {} if nothing is."""
    try:
        with open(path + '.json') as file:
            record = json.load(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and {'library', 'compiler', 'processor', 'passed'} <= set(record) else {}


def fault_of(path):
    """Why a library may not be loaded, or ''."""
    record = record_of(path)
    if not os.path.isfile(path) or not record:
        return 'it is not compiled: make setup, which needs g++'
    if record['library'] != file_digest(path):
        return 'it is not the library that was checked: make setup'
    if record['processor'] != processor():
        return 'it was checked on another processor: make setup'
    return '' if record['passed'] else 'it has not passed its check: %s' % record.get('failure')


def find():
    """(path of the library to load, ''), or (None, why none is)."""
    if os.environ.get(SWITCH) == '0':
        return None, '%s=0 switches it off' % SWITCH
    if os.environ.get(ONEDNN, '1') != '1':
        return None, '%s switches oneDNN off' % ONEDNN
    path, why_not = place()
    if path:
        why_not = fault_of(path)
    return (None, why_not) if why_not else (path, '')
