"""Files that are damaged, foreign or hostile: each function tries one fault and returns (tries, survived).

A reader survives if it raises ValueError, OSError or FloatingPointError, or gives the right answer.
"""
import hashlib
import io
import os
import shutil
import tarfile
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

import mxnet as mx
import numpy as np

from data.batches import ArrayBatches
from data.cifar import CIFAR10, load_cifar10
from data.download import fetch
from data.fashion_mnist import load_mini
from data.images import ImageBatches
from data.recordio import HEADER, LABEL, RecordFile, seal_path
from model import get_model
from tests.faults import runs
from tests.faults.pickles import HOSTILE, MARK_FILE
from tools.records import make_small
from training import checkpoint
from training.learner import Learner, make_trainer
from training.loop import train_epoch
from training.loss import Objective

REFUSALS = (ValueError, OSError)
PARTS = ('last.params', 'last.states', 'last.json')


def content_of(path):
    with open(path, 'rb') as file:
        return file.read()


def write(path, content):
    with open(path, 'wb') as file:
        file.write(content)


def cut(content, random):
    return content[:random.randint(len(content))]


def flip(content, random):
    content = bytearray(content)
    content[random.randint(len(content))] ^= 1 << random.randint(8)
    return content


def damaged_checkpoint(harm, names, tries, bench):
    """Harm files of a checkpoint: the last one is given if it is untouched in meaning, else the previous one."""
    folder = bench.copy_of_first('damaged-%s-%s' % (harm.__name__, names[0]))
    folder, survived = os.path.join(folder, 'run'), 0
    right = {}
    for stem in ('last', 'previous'):
        facts, arrays = checkpoint._load(folder, stem)
        right[facts['sha256']] = arrays
    for number in range(tries):
        path = os.path.join(folder, names[number % len(names)])
        whole = content_of(path)
        write(path, harm(whole, bench.random))
        try:
            facts, arrays = checkpoint.load(folder)
            survived += all(runs.same_arrays(arrays[kind], right[facts['sha256']][kind]) for kind in checkpoint.ARRAYS)
        except REFUSALS:
            survived += 1
        write(path, whole)
    return tries, survived


class Records:
    """RecordIO files of 20 images, and what they are read as."""

    def __init__(self, root):
        self.root = root
        make_small.write(root, size=40, train=20, val=7, folders=False)
        self.rec, self.idx = os.path.join(root, 'train.rec'), os.path.join(root, 'train.idx')
        self.whole, self.starts = content_of(self.rec), RecordFile(self.rec).starts
        self.data, self.labels = self.read()

    def read(self, rec=None, idx=None):
        """(data, labels) of all images, as one batch."""
        source = RecordFile(rec or self.rec, idx)
        try:
            return next(ImageBatches(source, 10, 20, False, size=32).epoch(0))
        finally:
            source.file.close()

    def place(self, name, content, sealed=True):
        folder = os.path.join(self.root, name)
        os.makedirs(folder, exist_ok=True)
        shutil.copy(self.idx, folder)
        if sealed:
            shutil.copy(seal_path(self.rec), folder)
        write(os.path.join(folder, 'train.rec'), content)
        return os.path.join(folder, 'train.rec')


@contextmanager
def quiet():
    """Without the warnings of the JPEG library, which writes to the terminal itself."""
    terminal, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nothing)


def damaged_records(harm, tries, bench):
    """Harm a sealed .rec file. The right answer is a refusal, or all images and labels unchanged."""
    place, survived = Records(bench.place('records-' + harm.__name__)), 0
    for _ in range(tries):
        content = harm(place.whole, bench.random)
        try:
            with quiet():
                data, labels = place.read(place.place('harmed', content))
            survived += np.array_equal(labels, place.labels) and np.array_equal(data, place.data)
        except REFUSALS:
            survived += 1
    return tries, survived


def undecodable_jpegs(bench, tries=20):
    """The error names the image."""
    place, survived = Records(bench.place('jpegs')), 0
    for row in range(tries):
        content = bytearray(place.whole)
        begin = int(place.starts[row]) + HEADER.size + LABEL.size
        content[begin:begin + 20] = bytes(20)
        try:
            place.read(place.place('open', content, sealed=False))
        except ValueError as error:
            survived += 'image %d of' % row in str(error)
    return tries, survived


def cut_indices(bench, tries=100):
    """The .idx of an unsealed .rec that lacks lines at its end, at its beginning, or anywhere: no smaller data set."""
    place, survived = Records(bench.place('cut-indices')), 0
    rec = place.place('open', place.whole, sealed=False)
    lines, harmed = content_of(place.idx).splitlines(True), rec[:-4] + '-harmed.idx'
    for number in range(tries):
        begin, end = np.sort(bench.random.choice(len(lines) + 1, 2, replace=False))
        begin, end = ((begin, end), (begin, len(lines)), (0, end))[number % 3]
        write(harmed, b''.join(lines[:begin] + lines[end:]))
        try:
            place.read(rec, harmed)
        except REFUSALS as error:
            survived += 'lacks' in str(error) or 'is empty' in str(error)
    return tries, survived


def hostile_pickles(bench):
    """In the place of a file of CIFAR's Python version. Nothing is run, and no pixel comes out of them."""
    folder, survived = bench.place('pickles'), 0
    for content in HOSTILE.values():
        for name in CIFAR10.python.train:
            write(os.path.join(folder, name), content)
        try:
            load_cifar10(True, folder)
        except REFUSALS:
            survived += not os.path.exists(MARK_FILE)
    return len(HOSTILE), survived


def foreign_indices(bench):
    """The .idx of another .rec, one whose offsets are shifted, and one that is no index."""
    place = Records(bench.place('indices'))
    content = content_of(place.idx)
    lines = [line.split(b'\t') for line in content.splitlines()]
    shifted = b''.join(b'%s\t%d\n' % (key, int(start) + 4) for key, start in lines)
    outside = b''.join(b'%s\t%d\n' % (key, int(start) + 10 ** 9) for key, start in lines)
    harmed, survived = place.rec[:-4] + '-harmed.idx', 0
    for index in (content_of(os.path.join(place.root, 'val.idx')), shifted, outside, b'\x00\xff' * 50, b'',
                  content + lines[0][0] + b'\t-4\n'):
        write(harmed, index)
        try:
            place.read(idx=harmed)
        except REFUSALS:
            survived += 1
    return 6, survived


class Download(BaseHTTPRequestHandler):
    """/cut sends half of what it promises, /tampered other bytes, /whole the right ones."""

    CONTENT = bytes(range(256)) * 400

    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', str(len(self.CONTENT)))
        self.end_headers()
        content = self.CONTENT[::-1] if 'tampered' in self.path else self.CONTENT
        self.wfile.write(content[:len(content) // 2] if 'cut' in self.path else content)

    def log_message(self, *_):
        pass


def spoiled_downloads(bench):
    """Cut or tampered with: an OSError and no file; after that the whole one arrives."""
    checksum = 'sha256:' + hashlib.sha256(Download.CONTENT).hexdigest()
    server = HTTPServer(('127.0.0.1', 0), Download)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder, survived = bench.place('downloads'), 0
    for name in ('cut', 'tampered', 'whole'):
        try:
            path = fetch('http://127.0.0.1:%d/%s' % (server.server_port, name), checksum, folder)
            survived += name == 'whole' and content_of(path) == Download.CONTENT
        except OSError:
            survived += name != 'whole' and not os.listdir(folder)
    server.shutdown()
    server.server_close()
    return 3, survived


def hostile_archives(bench):
    """Members with paths outside, and links in the place of members: refused, and nothing is written anywhere."""
    survived, kinds = 0, ('../evil', '/tmp/evil-%d' % os.getpid(), 'symbolic', 'hard', 'folder')
    for number, kind in enumerate(kinds):
        folder = bench.place('archive-%d' % number)
        version = CIFAR10.python if number % 2 else CIFAR10.binary
        with tarfile.open(os.path.join(folder, version.archives[0]), 'w:gz') as archive:
            for name in {**version.train, **version.test}:
                _add(archive, version.folder + '/' + name, kind)
            if '/' in kind:
                _add(archive, kind, 'file')
        before = set(os.listdir(bench.root)) | set(os.listdir(folder))
        try:
            load_cifar10(True, folder)
        except REFUSALS:
            survived += before == set(os.listdir(bench.root)) | set(os.listdir(folder)) and not os.path.exists(kinds[1])
    return len(kinds), survived


def _add(archive, name, kind):
    member = tarfile.TarInfo(name)
    member.type = {'symbolic': tarfile.SYMTYPE, 'hard': tarfile.LNKTYPE, 'folder': tarfile.DIRTYPE}.get(
        kind, tarfile.REGTYPE)
    member.linkname = '/etc/passwd' if kind in ('symbolic', 'hard') else ''
    member.size = 4 if member.isreg() else 0
    archive.addfile(member, io.BytesIO(b'evil') if member.isreg() else None)


class WithNaN(ArrayBatches):
    """Images of which one number is NaN, in a batch of choice."""

    harmed = 0

    def load(self, rows, epoch, batch, pool):
        data, labels = super().load(rows, epoch, batch, pool)
        if batch == self.harmed:
            data[0, 0, 0, 0] = np.nan
        return data, labels


def nan_images(bench):
    """Training stops in the epoch, naming the batch."""
    pixels, labels, _ = load_mini(True, bench.data)
    source, survived = WithNaN(pixels, labels, 10, (0.5,) * 3, (0.25,) * 3, 32, True), 0
    for batch in range(len(source)):
        source.harmed = batch
        net = get_model('cifar_resnet', blocks=1, classes=10)
        net.initialize()
        try:
            trainer = make_trainer(net, 0.9, 1e-4)
            train_epoch(Learner(net, trainer, lambda *_: 0.01, Objective(10), [mx.cpu()]), source, 0)
        except FloatingPointError as error:
            survived += 'not finite in epoch 0, batch %d' % batch in str(error)
    return len(source), survived


def broken_labels(bench):
    """A label that is no number in a .rec file is refused before it is used."""
    place, survived = Records(bench.place('nan')), 0
    for row in range(20):
        content = bytearray(place.whole)
        begin = int(place.starts[row]) + HEADER.size + 4
        content[begin:begin + 4] = np.array([np.nan, np.inf, -1, 0.5], 'float32')[row % 4].tobytes()
        try:
            place.read(place.place('harmed', content))
        except REFUSALS:
            survived += 1
    return 20, survived


FAULTS = [
    ('checkpoint cut at a random place', partial(damaged_checkpoint, cut, PARTS, 200)),
    ('bit flipped in .params or .states', partial(damaged_checkpoint, flip, PARTS[:2], 500)),
    ('bit flipped in the JSON', partial(damaged_checkpoint, flip, PARTS[2:], 500)),
    ('bit flipped in a RecordIO file', partial(damaged_records, flip, 500)),
    ('RecordIO file cut at a random place', partial(damaged_records, cut, 200)),
    ('JPEG that does not decode', undecodable_jpegs),
    ('.idx that does not belong to its .rec', foreign_indices),
    ('.idx that lacks records', cut_indices),
    ('label that is NaN, infinite, negative or broken', broken_labels),
    ('download cut or tampered with', spoiled_downloads),
    ('archive with members outside, or links', hostile_archives),
    ('pickle that would run code or fill memory', hostile_pickles),
]
