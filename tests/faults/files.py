"""Files that are damaged, foreign or hostile: each function tries one fault and returns (tries, survived).

A reader survives if it raises ValueError, OSError or FloatingPointError, or gives the right answer.
"""
import hashlib
import io
import os
import tarfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

import mxnet as mx
import numpy as np

from data.batches import ArrayBatches
from data.cifar import CIFAR10, load_cifar10
from data.download import fetch
from data.fashion_mnist import load_mini
from model import get_model
from tests.faults import records, runs
from tests.faults.harm import REFUSALS, content_of, cut, flip, write
from tests.faults.pickles import HOSTILE, MARK_FILE
from training import checkpoint
from training.learner import Learner, make_trainer
from training.loop import train_epoch
from training.loss import Objective

PARTS = ('last.params', 'last.states', 'last.json')
ENTRIES = {str(number): '' for number in range(10 ** 4)}  # of a tar, for all of its members


def damaged_checkpoint(harm, names, tries, bench):
    """Harm files of a checkpoint: the last one is given if it is untouched in meaning, else the previous one."""
    folder = bench.copy_of_first('damaged-%s-%s' % (harm.__name__, names[0]))
    folder, survived = os.path.join(folder, 'run'), 0
    right = {}
    for stem in ('last', 'previous'):
        facts, arrays, _ = checkpoint._load(folder, stem)
        right[facts['sha256']] = arrays
    for number in range(tries):
        path = os.path.join(folder, names[number % len(names)])
        whole = content_of(path)
        write(path, harm(whole, bench.random))
        try:
            facts, arrays, _ = checkpoint.load(folder)
            survived += all(runs.same_arrays(arrays[kind], right[facts['sha256']][kind]) for kind in checkpoint.ARRAYS)
        except REFUSALS:
            survived += 1
        write(path, whole)
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
    """Members with paths outside, links in the place of members, and headers that would fill memory: refused, and
    nothing is written anywhere."""
    survived, kinds = 0, ('../evil', '/tmp/evil-%d' % os.getpid(), 'symbolic', 'hard', 'folder', 'global', 'map')
    for number, kind in enumerate(kinds):
        folder = bench.place('archive-%d' % number)
        version = CIFAR10.python if number % 2 else CIFAR10.binary
        with tarfile.open(os.path.join(folder, version.archives[0]), 'w:gz', format=tarfile.PAX_FORMAT,
                          pax_headers=ENTRIES if kind == 'global' else None) as archive:
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
    content = b'evil' if member.isreg() else b''
    if kind == 'map':  # of a file with holes
        content = b'1000000\n' + b'0\n' * 10 ** 6
        member.pax_headers = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0'}
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


class WithNaN(ArrayBatches):
    """Images of which one number is NaN, in a batch of choice."""

    harmed = 0

    def load(self, rows, epoch, batch, mapped):
        data, labels = super().load(rows, epoch, batch, mapped)
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


FAULTS = [
    ('checkpoint cut at a random place', partial(damaged_checkpoint, cut, PARTS, 200)),
    ('bit flipped in .params or .states', partial(damaged_checkpoint, flip, PARTS[:2], 500)),
    ('bit flipped in the JSON', partial(damaged_checkpoint, flip, PARTS[2:], 500)),
    *records.FAULTS,
    ('download cut or tampered with', spoiled_downloads),
    ('archive with members outside, links, or huge headers', hostile_archives),
    ('pickle that would run code or fill memory', hostile_pickles),
]
