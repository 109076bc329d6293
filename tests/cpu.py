"""What the processor of this machine has."""
import pytest


def has_avx512():
    with open('/proc/cpuinfo') as file:
        return ' avx512f ' in file.read()


needs_bfloat16 = pytest.mark.skipif(not has_avx512(), reason='bfloat16 needs AVX-512')
