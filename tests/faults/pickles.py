"""Pickles that would do harm if they were run, {name: bytes}: write a file, fill memory, or never end."""
import os
import pickle

MARK_FILE = '/tmp/atac-pickle-%d' % os.getpid()
COMMAND = "open('%s', 'w')" % MARK_FILE


class Calls:
    """An object that is unpickled by a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def named(module, name):
    """A call of something by its name, with the command."""
    return b'c%s\n%s\n(V%s\ntR.' % (module, name, COMMAND.encode())


def text(value):
    return b'X' + len(value).to_bytes(4, 'little') + value


def nested(kind, depth):
    """A container of two of one and the same container, and so on: 2 ** depth if it were counted out."""
    if kind == 'list':
        return b']' + b''.join(b'q%c](h%ch%ce' % ((level,) * 3) for level in range(depth))
    return b')' + b''.join(b'q%ch%c\x86' % ((level,) * 2) for level in range(depth))


ARRAY = b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01'
KIND = b'cnumpy\ndtype\nX\x02\x00\x00\x00%sK\x00K\x01\x87R'
HUGE = b'\x8a\x06' + (1 << 40).to_bytes(6, 'little')

HOSTILE = {
    **{'os.system, protocol %d' % protocol: pickle.dumps(Calls(os.system, 'touch ' + MARK_FILE), protocol)
       for protocol in range(6)},
    'eval': named(b'builtins', b'eval'), 'exec': named(b'builtins', b'exec'),
    'eval of Python 2': named(b'__builtin__', b'eval'),
    'os.system in a dictionary': b'\x80\x02}' + text(b'data') + named(b'os', b'system')[:-1] + b's.',
    'a chain of getattr': b'\x80\x04cbuiltins\ngetattr\n(cbuiltins\n__import__\n(Vos\ntRVsystem\ntR(Vtouch %s\ntR.'
                          % MARK_FILE.encode(),
    'a dotted name': b'\x80\x04' + text(b'numpy') + text(b'core.os.system') + b'\x93(V%s\ntR.' % COMMAND.encode(),
    'numpy.load': b'cnumpy\nload\n(V/dev/zero\ntR.', 'numpy.fromfile': b'cnumpy\nfromfile\n(V/dev/zero\ntR.',
    'codecs': named(b'codecs', b'decode'), '_codecs': named(b'_codecs', b'encode'),
    'copyreg': b'ccopyreg\n_reconstructor\n(cbuiltins\nlist\ncbuiltins\nlist\nNtR.',
    'types.CodeType': named(b'types', b'CodeType'), 'functools.partial': named(b'functools', b'partial'),
    'INST': b'(S\'touch %s\'\nios\nsystem\n.' % MARK_FILE.encode(),
    'OBJ': b'(cos\nsystem\nS\'touch %s\'\no.' % MARK_FILE.encode(),
    'NEWOBJ': b'\x80\x02cnumpy\nndarray\n(' + HUGE + b'tt\x81.', 'NEWOBJ_EX': b'\x80\x04cnumpy\nndarray\n)}\x92.',
    'BUILD of a class': b'cnumpy\nndarray\n}' + text(b'__init__') + b'I1\nsb.',
    'BUILD of a list': b']}' + text(b'append') + b'K\x01sb.',
    'a persistent id': b'Pos.system\n.', 'a persistent id of the stack': text(b'os.system') + b'Q.',
    'an extension': b'\x82\x01.', 'a buffer of another process': b'\x80\x05\x97.',
    'a call of text': text(b'os system') + b')R.', 'a call of a list': b'])R.',
    'an array of a terabyte': ARRAY + HUGE + b'\x85' + KIND % b'u1' + b'\x89C\x00tb.',
    'an array made by a call': b'cnumpy\nndarray\n' + HUGE + b'\x85\x85R.',
    'an array of objects': ARRAY + b'K\x01\x85' + KIND % b'O8' + b'\x89](K\x00etb.',
    'an array whose shape is lists': ARRAY + b'](K\x00K\x00e' + HUGE + b'\x86' + KIND % b'u1' + b'\x89C\x00tb.',
    'an array whose sizes take for ever to multiply':
        ARRAY + b'](\x8a\xff' + b'\x7f' * 255 + b'q\x00' + b'h\x00' * 9000 + b'e' + KIND % b'u1' + b'\x89C\x00tb.',
    'an array of thousands of dimensions': ARRAY + b'](' + b'K\x01' * 9000 + b'e' + KIND % b'u1' + b'\x89C\x01xtb.',
    'an array without content': b'}' + text(b'data') + ARRAY.split(b'(K')[0] + b's.',
    'bytes of a terabyte': b'\x80\x04\x8e' + (1 << 40).to_bytes(8, 'little') + b'.',
    'text of a terabyte': b'\x80\x04\x8d' + (1 << 40).to_bytes(8, 'little') + b'.',
    'a frame of a terabyte': b'\x80\x04\x95' + (1 << 40).to_bytes(8, 'little') + b'].',
    'a number of 2 GB': b'\x8b\xff\xff\xff\x7f.',
    'a list of a list of a list': b']' * 10 ** 6 + b'a' * (10 ** 6 - 1) + b'.',
    'marks without end': b'(' * 10 ** 6,
    'lists that hold one another': b'}' + text(b'data') + nested('list', 60) + b's.',
    'a key that takes for ever to hash': b'}' + nested('tuple', 90) + b'K\x01s.',
    'a key of tuples among many': b'}(' + nested('tuple', 90) + b'K\x01u.',
    'a call of what takes for ever to print': nested('tuple', 90) + b')R.',
    'nothing': b'', 'nothing on its stack': b'.', 'a stack that runs out': b'\x80\x02(tR.',
    'no pickle': b'\x00\xff' * 20,
    'an unknown memo': b'h\x07.', 'a dictionary extended as a list': b'}(K\x01e.',
    'an odd dictionary': b'}(K\x01u.',
}
