"""OpenCV with one thread; where it cannot be loaded, an OSError that says why comes with the first use."""


class Missing:
    """In the place of a library that cannot be loaded: small data sets do without it."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, _):
        raise OSError('opencv cannot be loaded (%s): install libgl1 with the system, or opencv-python-headless with '
                      'pip' % self.error)


try:
    import cv2
    cv2.setNumThreads(1)  # the threads of the batches are the parallelism
except ImportError as error:
    cv2 = Missing(error)
