"""Pickles are read without being run: arrays, text and numbers come out, and anything else is one sentence."""
import os
import pickle
import subprocess
import sys

from runtime import UserError

import numpy as np
import pytest

from data.pickles import Array, read_pickle
from tests.faults.pickles import HOSTILE, MARK_FILE

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.mark.parametrize('protocol', [3, 4])
def test_arrays_and_plain_containers_are_what_pickle_gives(protocol):
    value = {'a': [1, -5, 70000, 1 << 40, 2.5, None, True, False], b'b': ('x', b'y', ('z', 'ü'), (), ('x',) * 5),
             'c': {}, 'd': [], 'e': [[]] * 3, 'f': 'long ' * 100}
    assert read_pickle(pickle.dumps(value, protocol), 1000, 'it') == value
    arrays = [np.arange(60, dtype='uint8').reshape(3, 4, 5), np.zeros((0, 7), 'uint8'), np.ones(3000, 'uint8')]
    for array, found in zip(arrays, read_pickle(pickle.dumps(arrays, protocol), 1000, 'it')):
        assert isinstance(found, Array) and found.value.shape == array.shape and (found.value == array).all()


@pytest.mark.parametrize('array', [np.zeros(3), np.zeros(3, 'int8'), np.array([{}]), np.zeros(2, 'U3'),
                                   np.asfortranarray(np.zeros((2, 3), 'uint8'))])
def test_arrays_of_anything_but_bytes_are_refused(array):
    with pytest.raises(UserError, match='it is damaged, or is not a pickle of arrays, text and numbers only'):
        read_pickle(pickle.dumps(array, 4), 1000, 'it')


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_pickles_are_errors(name):
    try:
        found = read_pickle(HOSTILE[name], 10000, 'it')
    except UserError as error:
        assert str(error).startswith('it is damaged, or is not') and len(str(error)) < 300
    else:  # what holds nothing but lists does no harm
        assert name in ('lists that hold one another', 'an array without content', 'a frame of a terabyte')
        assert type(found) in (dict, list)
    assert not os.path.exists(MARK_FILE)


def test_hostile_pickles_fill_no_memory():
    """All of them in a process that may take 1 GB of addresses more than it has."""
    script = ('import os, resource\nfrom data.pickles import read_pickle\nfrom tests.faults.pickles import HOSTILE\n'
              'used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")\n'
              'resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)\n'
              'for content in HOSTILE.values():\n    try:\n        read_pickle(content, 10 ** 7, "it")\n'
              '    except ValueError:\n        pass\nprint("done")')
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, timeout=100, capture_output=True, text=True)
    assert done.stdout == 'done\n', done.stderr


def test_a_pickle_of_too_many_instructions_is_refused():
    content = pickle.dumps(list(range(1000)), 4)
    assert read_pickle(content, 1100, 'it') == list(range(1000))
    with pytest.raises(UserError, match='more than 900 instructions'):
        read_pickle(content, 900, 'it')


def test_damaged_pickles_are_errors():
    """Cut anywhere, or with a wrong byte: another value or one sentence, and no other exception."""
    random = np.random.RandomState(0)
    whole = pickle.dumps({b'data': np.zeros((9, 9), 'uint8'), b'labels': [1, 2, 3]}, 4)
    for _ in range(2000):
        content = bytearray(whole[:random.randint(1, len(whole) + 1)])
        content[random.randint(len(content))] ^= 1 << random.randint(8)
        try:
            read_pickle(bytes(content), 1000, 'it')
        except UserError:
            continue
