"""Records as MXNet frames them, and one writer in a folder at a time."""
import errno
import fcntl
import os

import mxnet as mx
import numpy as np
import pytest

from data.record_writer import framed, one_run_in
from data.recordio import MAGIC


def test_records_are_framed_as_mxnet_frames_them(tmp_path):
    """Also where the magic number is in them, which happens a few times in ImageNet."""
    magic = np.array([MAGIC], '<u4').tobytes()
    records = [b'', b'abc', magic, magic * 3, b'abcd' + magic, magic + b'x', b'ab' + magic + b'cd', b'abcd' + magic
               + b'efgh' + magic + b'i', bytes(range(250))]
    writer = mx.recordio.MXRecordIO(str(tmp_path / 'x.rec'), 'w')
    for record in records:
        writer.write(record)
    writer.close()
    assert b''.join(map(framed, records)) == (tmp_path / 'x.rec').read_bytes()


def test_a_folder_is_locked_for_one_and_nothing_is_left_in_it(tmp_path):
    with one_run_in(str(tmp_path)):
        with pytest.raises(OSError, match='another run is writing into %s: wait' % tmp_path), one_run_in(str(tmp_path)):
            pass
        assert os.listdir(str(tmp_path)) == ['prepare_imagenet.lock']
    assert os.listdir(str(tmp_path)) == []
    with pytest.raises(KeyError), one_run_in(str(tmp_path)):
        raise KeyError
    assert os.listdir(str(tmp_path)) == []


def test_a_lock_whose_file_the_last_run_has_just_removed_is_none(tmp_path, monkeypatch):
    """Opened before it was removed, locked after it: a third run could lock a new file of that name."""
    flock = fcntl.flock
    monkeypatch.setattr(fcntl, 'flock', lambda *arguments: os.remove(arguments[0].name) or flock(*arguments))
    with pytest.raises(OSError, match='another run'), one_run_in(str(tmp_path)):
        pass


def test_where_nothing_can_be_locked_there_is_a_warning(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', unsupported)
    with one_run_in(str(tmp_path)):
        assert capsys.readouterr().err.endswith('cannot be locked (No locks available): start no second run there\n')
