"""Read and write MXNet's .params files without MXNet.

MXNet's own reader trusts every length that it finds. This one checks each against the size of the file before it is
used, so a file that is cut short, damaged or hostile gives a UserError and nothing else. MXNet's own writer does not
notice that the disk has no room for the end of a file; this one raises OSError.

Layout, little-endian: u64 0x112, u64 0, u64 arrays, that many arrays, u64 names, that many (u64 length, bytes).
An array: u32 version, i32 storage (0 = dense), i32 dimensions, i64 sizes, i32 device and its number, i32 type, data.
"""
import hashlib
import os
import struct
from math import prod

import numpy as np

from .ground import UserError

LIST_MAGIC = 0x112
CPU = (1, 0)
ARRAY_VERSIONS = (0xF993FAC9, 0xF993FACA)
TYPES = {0: 'float32', 1: 'float64', 2: 'float16', 3: 'uint8', 4: 'int32', 5: 'int8', 6: 'int64'}
CODES = {name: code for code, name in TYPES.items()}
MOST_DIMENSIONS = 8
LONGEST_NAME = 1000  # bytes
LARGEST = 1 << 32    # bytes of a file: 17 times those of the largest network here


class _Reader:
    """A position in bytes that cannot leave them."""

    def __init__(self, path):
        self.path = path
        self.position = 0
        with open(path, 'rb') as file:
            size = os.fstat(file.fileno()).st_size
            self.expect(size <= LARGEST, 'it has %d GB' % (size >> 30))
            self.content = memoryview(file.read())

    def take(self, size):
        if not 0 <= size <= len(self.content) - self.position:
            raise UserError('%s is cut short or damaged: %d bytes are needed at %d, the file ends at %d'
                            % (self.path, size, self.position, len(self.content)))
        self.position += size
        return self.content[self.position - size:self.position]

    def numbers(self, form):
        return struct.unpack('<' + form, self.take(struct.calcsize('<' + form)))

    def expect(self, right, what):
        if not right:
            raise UserError('%s is damaged or no .params file: %s' % (self.path, what))


def read_params(path):
    """{name: NumPy array} of a .params file. Raises OSError if there is none, UserError if it is not whole."""
    if not is_params(path):  # before a large file is read into the memory
        raise UserError('%s is damaged or no .params file: it does not begin as one' % path)
    reader = _Reader(path)
    _, _, count = reader.numbers('QQQ')
    arrays = []
    for _ in range(count):
        arrays.append(_array(reader))
    names = [_name(reader) for _ in range(_count_of_names(reader, count))]
    reader.expect(reader.position == len(reader.content), 'there are bytes after its end')
    reader.expect(len(set(names)) == count, 'a name is there twice')
    return dict(zip(names, arrays))


def is_params(path):
    """Whether a file begins as a .params file. Raises OSError if there is none."""
    with open(path, 'rb') as file:
        return file.read(16) == struct.pack('<QQ', LIST_MAGIC, 0)


def write_params(path, arrays):
    """Write {name: NumPy array} as mx.nd.save does. Returns {'size', 'sha256'} of what was meant.

    Raises OSError if the disk does not take all of it.
    """
    digest = hashlib.sha256()
    size = 0
    with open(path, 'wb') as file:
        for piece in _pieces(arrays):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    return {'size': size, 'sha256': digest.hexdigest()}


def _pieces(arrays):
    yield struct.pack('<QQQ', LIST_MAGIC, 0, len(arrays))
    for array in arrays.values():
        yield struct.pack('<Iii%dqiii' % array.ndim, ARRAY_VERSIONS[0], 0, array.ndim, *array.shape, *CPU,
                          CODES[array.dtype.name])
        yield array.tobytes()
    yield struct.pack('<Q', len(arrays))
    for name in map(str.encode, arrays):
        yield struct.pack('<Q', len(name)) + name


def _array(reader):
    version, storage, dimensions = reader.numbers('Iii')
    reader.expect(version in ARRAY_VERSIONS and storage == 0, 'it holds an array of an unknown kind')
    reader.expect(0 <= dimensions <= MOST_DIMENSIONS, 'an array has %d dimensions' % dimensions)
    shape = reader.numbers('%dq' % dimensions)
    reader.expect(all(size > 0 for size in shape), 'an array has a size below 1')  # 0 would hide any other size
    _, _, kind = reader.numbers('iii')
    reader.expect(kind in TYPES, 'an array has the unknown type %d' % kind)
    dtype = np.dtype(TYPES[kind])
    return np.frombuffer(reader.take(prod(shape) * dtype.itemsize), dtype).reshape(shape)


def _count_of_names(reader, count):
    names, = reader.numbers('Q')
    reader.expect(names == count, '%d names for %d arrays' % (names, count))
    return names


def _name(reader):
    length, = reader.numbers('Q')
    reader.expect(length <= LONGEST_NAME, 'a name has %d bytes' % length)
    try:
        name = bytes(reader.take(length)).decode()
    except UnicodeDecodeError:
        name = ''
    reader.expect(name and name.isprintable(), 'a name cannot be read')
    # Module-style files say what an array is: arg:weight, aux:running_mean.
    return name[4:] if name.startswith(('arg:', 'aux:')) else name
