"""Records as MXNet frames them."""
import mxnet as mx
import numpy as np

from data.record_writer import framed
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
