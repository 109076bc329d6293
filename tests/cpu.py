"""What the processor of this machine has, as far as MXNet's oneDNN is allowed to use it (DNNL_MAX_CPU_ISA)."""
from runtime import UserError

import pytest

from training import scoring
from training.precision import check_bfloat16


def has_bfloat16():
    try:
        check_bfloat16()
    except UserError:
        return False
    return True


DTYPES = tuple(dtype for dtype in scoring.DTYPES if dtype != 'bfloat16' or has_bfloat16())
needs_bfloat16 = pytest.mark.skipif('bfloat16' not in DTYPES, reason='bfloat16 needs AVX-512')
