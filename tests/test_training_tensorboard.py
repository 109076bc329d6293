"""--tensorboard: the numbers of the log, over the batches trained on, each once after a resume."""
import json
import os
import struct
import sys

import pytest

import train_cifar
from disk import lock
from tests.test_scripts import refusal

event_pb2 = pytest.importorskip('tensorboardX').proto.event_pb2


def events(path):
    """The events of a file: records of length (uint64), its checksum, the content, its checksum."""
    with open(path, 'rb') as file:
        while True:
            head = file.read(12)
            if not head:
                return
            yield event_pb2.Event.FromString(file.read(struct.unpack('<QI', head)[0]))
            file.read(4)


def scalars(folder):
    """{(name, step): value}, as TensorBoard reads the files in order."""
    found = {}
    for name in sorted(os.listdir(folder)):
        for event in events(os.path.join(folder, name)):
            if event.HasField('session_log'):
                found = {key: value for key, value in found.items() if key[1] < event.step}
            for value in event.summary.value:
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = value.simple_value
    return found


def test_the_numbers_of_the_log_for_tensorboard(cifar_flags, tmp_path):
    flags = cifar_flags + ['--tensorboard', str(tmp_path / 'events')]
    train_cifar.main(flags)
    found = scalars(str(tmp_path / 'events' / 'run'))
    batches = 150 // 32 + 1
    with open(str(tmp_path / 'run.jsonl')) as file:
        for line in file:
            numbers = json.loads(line)
            for name in ('train_loss', 'val_top1_error', 'lr'):
                assert found['epoch/' + name, (numbers['epoch'] + 1) * batches] == pytest.approx(numbers[name])
    assert sorted(step for name, step in found if name == 'batch/lr') == \
        [epoch * batches + batch for epoch in range(2) for batch in range(2, batches + 1, 2)]


def test_a_resumed_run_tells_tensorboard_each_step_once(cifar_flags, tmp_path):
    flags = cifar_flags + ['--tensorboard', str(tmp_path / 'events')]
    train_cifar.main(flags)
    before = set(scalars(str(tmp_path / 'events' / 'run')))
    train_cifar.main([*flags, '--num-epochs', '3', '--lr-mode', 'cosine', '--resume'])
    after = set(scalars(str(tmp_path / 'events' / 'run')))
    assert before < after and len(after) * 2 == len(before) * 3


def test_without_the_writer_tensorboard_is_refused_before_anything_is_written(cifar_flags, tmp_path, capsys,
                                                                             monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    flags = cifar_flags + ['--tensorboard', str(tmp_path / 'events')]
    assert 'requirements/tensorboard.txt' in refusal(train_cifar.main, flags, capsys, monkeypatch)
    assert not (tmp_path / 'run.log').exists() and not (tmp_path / 'events').exists()


def test_a_run_that_is_refused_tells_tensorboard_nothing(cifar_flags, tmp_path, capsys, monkeypatch):
    numbers = open(tmp_path / 'run.jsonl', 'a')
    with numbers:
        lock(numbers, 'it', '--logging-file')
        flags = [*cifar_flags, '--tensorboard', str(tmp_path / 'events')]
        assert 'another run is using' in refusal(train_cifar.main, flags, capsys, monkeypatch)
    assert not (tmp_path / 'events').exists()
