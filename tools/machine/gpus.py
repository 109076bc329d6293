"""Which GPUs there are, as NVIDIA's driver and the PCI bus tell it, and whether a wheel of MXNet can use them."""
import ctypes
import glob
import os
import re

from tools.machine.packages import DRIVER

# Compute capabilities that the CUDA wheels have machine code for. Those of cu100 and cu117 were read from .nv_fatbin of
# their libmxnet.so, which holds no PTX from which a driver could make code for newer GPUs; the others are from MXNet's
# build files.
ARCHITECTURES = {'mxnet-cu100': ((3, 0), (5, 0), (6, 0), (7, 0), (7, 5)),
                 **dict.fromkeys(['mxnet-cu11%d' % minor for minor in range(2, 8)],
                                 ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6)))}
COMPUTE_CAPABILITY = (75, 76)  # major, minor: of CUdevice_attribute
NVIDIA = '0x10de'  # on the PCI bus


def driver(library='libcuda.so.1'):
    """(GPUs, the CUDA version of the driver such as 11070 or 0, why there is none), as MXNet would find them.

    GPUs: [(name, (major, minor) of the compute capability)], those that CUDA_VISIBLE_DEVICES names.
    """
    try:
        cuda = ctypes.CDLL(library)
        code = cuda.cuInit(0)
    except OSError:
        return [], 0, "there is no libcuda.so.1, a part of NVIDIA's driver"
    except AttributeError:
        return [], 0, "%s is not NVIDIA's" % library
    number, name, gpus = ctypes.c_int(), ctypes.create_string_buffer(100), []
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version, number.value = number.value, 0
    if code == 0:
        cuda.cuDeviceGetCount(ctypes.byref(number))
    for device in range(number.value):
        capability = []
        cuda.cuDeviceGetName(name, len(name), device)
        for attribute in COMPUTE_CAPABILITY:
            cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
            capability.append(number.value)
        gpus.append((name.value.decode(), tuple(capability)))
    return gpus, version, '' if gpus else 'the driver finds none (CUDA error %d)' % code


def nvidia_on_the_bus(folder='/sys/bus/pci/devices'):
    """How many display controllers of NVIDIA are on the PCI bus, with or without a driver."""
    count = 0
    for device in glob.glob(os.path.join(glob.escape(folder), '*')):
        with open(os.path.join(device, 'vendor')) as vendor, open(os.path.join(device, 'class')) as kind:
            count += vendor.read().strip() == NVIDIA and kind.read().startswith('0x03')
    return count


def has_code(wheel, capability):
    """Whether a wheel has machine code for a GPU; None if that is not known.

    Code for X.y runs on X.z with z >= y: that for 8.6 runs on Ada, which is 8.9, and not on Hopper, which is 9.0.
    """
    if wheel not in ARCHITECTURES:
        return None
    return any(major == capability[0] and minor <= capability[1] for major, minor in ARCHITECTURES[wheel])


def examine_gpus(report, wheel, gpus, version, reason, on_the_bus):
    """Which GPUs there are, and whether this wheel can use them."""
    report.line('GPUs', '; '.join('%d: %s, compute capability %d.%d' % (number, name, *capability)
                                  for number, (name, capability) in enumerate(gpus)) or 'none: ' + reason)
    if not gpus and on_the_bus:
        report.advice.append('a GPU of NVIDIA is on the PCI bus, but %s: %s' % (reason, DRIVER))
    elif not gpus and wheel.startswith('mxnet-cu') and not report.problems:
        report.advice.append('%s is for GPUs and there is none, so the CPU trains' % wheel)
    for number, (name, capability) in enumerate(gpus):
        gpu = 'GPU %d, %s of compute capability %d.%d' % (number, name, *capability)
        here, better = has_code(wheel, capability), has_code('mxnet-cu117', capability)
        if wheel.startswith('mxnet-cu') and here is False:
            report.problems.append('%s has no code for %s%s' % (
                wheel, gpu, ': make setup GPU=cu117' if better else
                ', nor has another wheel: hide it by CUDA_VISIBLE_DEVICES, or build MXNet for it'))
        elif not wheel.startswith('mxnet-cu'):
            report.advice.append('this MXNet does not use %s%s' % (gpu, ': make setup GPU=cu117' if better else
                                                                   ', for which no wheel has code'))
    if gpus and wheel.startswith('mxnet-cu'):
        examine_driver(report, wheel, version)


def examine_driver(report, wheel, version):
    """Whether the driver is new enough for a CUDA wheel."""
    major, minor = re.match(r'mxnet-cu(\d+)(\d)', wheel).groups()
    wanted = 1000 * int(major) + 10 * int(minor)  # cu117: 11070
    sentence = "the driver is for CUDA %d.%d and %s for %d.%d: install NVIDIA's driver 515.43 or newer" % (
        version // 1000, version % 1000 // 10, wheel, wanted // 1000, wanted % 1000 // 10)
    if version // 1000 < wanted // 1000:
        report.problems.append(sentence)
    elif version < wanted:
        report.advice.append(sentence + ', or set MXNET_USE_FUSION=0: kernels made at run time may not load')
