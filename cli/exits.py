"""How a script leaves: a mistake of the user is one sentence and exit code 2, a defect of ours a traceback."""
import os
import re
import sys

from runtime import UserError

import mxnet as mx

DEVICE_IS_FULL = re.compile('out of memory|[Ff]ailed to allocate|bad_alloc')


def run_script(main):
    """Call main() and leave with its exit code.

    A UserError, and what the system says with an OSError, is one sentence and exit code 2. A training that has diverged
    leaves with 1. Everything else is a defect of ours and keeps its traceback.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except FloatingPointError as error:
        leave(1, error)
    except OSError as error:
        leave(2, f'{error.filename}: {error.strerror}' if error.filename and error.strerror else error)
    except mx.base.MXNetError as error:
        if not DEVICE_IS_FULL.search(str(error)):
            raise
        leave(2, 'the memory of the device is full: a smaller --batch-size may fit')
    except UserError as error:
        leave(2, error)


def leave(code, error):
    """Print the sentence, after the name of the script or of the package that was run, and exit."""
    folder, name = os.path.split(sys.argv[0])
    print('%s: error: %s' % (os.path.basename(folder) if name == '__main__.py' else name, error), file=sys.stderr)
    sys.exit(code)
