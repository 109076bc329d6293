"""What a pickle holds, read without running it: nothing that it names is imported, called or looked up.

A pickle is a program. Known here are only those of its instructions with which dictionaries, lists, tuples, text,
bytes, numbers and NumPy's arrays of bytes are written; the first other one is an error, and so are too many of them.
Values are only kept, and never compared or written out: a few lists that hold one another may describe more than fits
into any memory.
"""
import pickletools
from math import prod

from runtime import UserError

import numpy as np

# What NumPy calls to make an array and its type, as old and new versions name it. It is recognised, not called.
ARRAYS = ('numpy.core.multiarray _reconstruct', 'numpy._core.multiarray _reconstruct')
TYPES = ('numpy dtype',)
NAMES = ARRAYS + TYPES + ('numpy ndarray',)
LITERALS = ('BININT BININT1 BININT2 LONG1 BINFLOAT NONE NEWTRUE NEWFALSE BINBYTES SHORT_BINBYTES BINBYTES8 BINUNICODE '
            'SHORT_BINUNICODE BINUNICODE8').split()
DIMENSIONS = 32  # of an array, at most, as in NumPy
VALUES = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
EMPTY = {'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple}
TEXT_OF_PYTHON_2 = 'BINSTRING', 'SHORT_BINSTRING'  # or bytes


def read_pickle(content, most, path):
    """The value in the bytes of a pickle; an Array for an array.   most: instructions that it may have

    Raises UserError for anything else, and for what is damaged.
    """
    try:
        return Machine().run(content, most)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError('%s is damaged, or is not a pickle of arrays, text and numbers only (%s)'
                        % (path, error)) from error


class Array:
    """An array of bytes. `value`: once its shape and content were read."""
    value = np.empty(0, 'uint8')

    def build(self, state):
        _, shape, kind, is_fortran, content = state
        if not isinstance(kind, Type) or kind.name not in ('u1', b'u1') or is_fortran or type(content) is not bytes:
            raise ValueError('an array that is not of bytes')
        # The product of thousands of huge numbers would take for ever.
        if len(shape) > DIMENSIONS or not all(type(length) is int and 0 <= length < 1 << 63 for length in shape) \
                or prod(shape) != len(content):
            raise ValueError('an array whose shape is not that of its content')
        self.value = np.frombuffer(content, 'uint8').reshape(shape)


class Type:
    """The type of an array."""

    def __init__(self, name):
        self.name = name

    def build(self, _):
        """Order and alignment of the bytes, which single ones do not have."""


class Machine:
    """The instructions of a pickle, as pickletools reads them."""

    def __init__(self):
        self.stack = []
        self.marks = []
        self.memo = {}

    def run(self, content, most):
        for count, (code, argument, _) in enumerate(pickletools.genops(content)):
            if count > most:
                raise ValueError('more than %d instructions' % most)
            if code.name in LITERALS:
                self.stack.append(VALUES.get(code.name, argument))
            elif code.name in TEXT_OF_PYTHON_2:
                self.stack.append(argument.encode('latin-1'))
            elif code.name in EMPTY:
                self.stack.append(EMPTY[code.name]())
            elif code.name in INSTRUCTIONS:
                INSTRUCTIONS[code.name](self, argument)
            else:
                raise ValueError('the instruction %s' % code.name)
        return self.stack.pop()

    def nothing(self, _):
        """Of the version, of the length of what comes, and of the end."""

    def mark(self, _):
        self.marks.append(len(self.stack))

    def since_mark(self):
        begin = self.marks.pop()
        items = self.stack[begin:]
        del self.stack[begin:]
        return items

    def last(self, count):
        if count > len(self.stack):
            raise ValueError('too little on its stack')
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def put_tuple(self, items):
        self.stack.append(tuple(items))

    def extend(self, items):
        if type(self.stack[-1]) is not list:
            raise ValueError('something added to what is not a list')
        self.stack[-1].extend(items)

    def set_items(self, items):
        """Keys are text, as the hash of nested tuples may take for ever."""
        if type(self.stack[-1]) is not dict or not all(isinstance(key, (str, bytes)) for key in items[::2]):
            raise ValueError('a dictionary whose keys are no text')
        self.stack[-1].update(zip(items[::2], items[1::2]))

    def remember(self, place):
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def recall(self, place):
        self.stack.append(self.memo[place])

    def name(self, name):
        """The name of something to import. It stays a name."""
        if name not in NAMES:
            raise ValueError('it would import %.80s' % name.replace(' ', '.'))
        self.stack.append(name)

    def call(self, _):
        called, arguments = self.last(2)
        if called in ARRAYS:
            self.stack.append(Array())
        elif called in TYPES:
            self.stack.append(Type(arguments[0]))
        else:
            raise ValueError('it would call what is none of NumPy')

    def build(self, _):
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (Array, Type)):
            raise ValueError('it would set the state of what is not an array')
        self.stack[-1].build(state)


# Each takes the machine and the argument of the instruction, None if it has none.
INSTRUCTIONS = {
    'PROTO': Machine.nothing, 'FRAME': Machine.nothing, 'STOP': Machine.nothing, 'MARK': Machine.mark,
    'TUPLE': lambda machine, _: machine.put_tuple(machine.since_mark()),
    'TUPLE1': lambda machine, _: machine.put_tuple(machine.last(1)),
    'TUPLE2': lambda machine, _: machine.put_tuple(machine.last(2)),
    'TUPLE3': lambda machine, _: machine.put_tuple(machine.last(3)),
    'APPEND': lambda machine, _: machine.extend(machine.last(1)),
    'APPENDS': lambda machine, _: machine.extend(machine.since_mark()),
    'SETITEM': lambda machine, _: machine.set_items(machine.last(2)),
    'SETITEMS': lambda machine, _: machine.set_items(machine.since_mark()),
    'BINPUT': Machine.remember, 'LONG_BINPUT': Machine.remember, 'MEMOIZE': Machine.remember,
    'BINGET': Machine.recall, 'LONG_BINGET': Machine.recall,
    'GLOBAL': Machine.name, 'STACK_GLOBAL': lambda machine, _: machine.name(' '.join(machine.last(2))),
    'REDUCE': Machine.call, 'BUILD': Machine.build,
}
