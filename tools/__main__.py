"""python -m tools: the tools, a line each."""
import ast
import glob
import os

from cli.streams import mend_streams
from tools import __path__ as ROOMS


def first_line(path):
    """The first line of the docstring of a file, or of a folder's __main__.py."""
    with open(path) as file:
        return (ast.get_docstring(ast.parse(file.read())) or '').partition('\n')[0]


def tools():
    """{name: what it does} of everything that `python -m tools.NAME` runs."""
    found = {}
    for room in ROOMS:
        for path in sorted(glob.glob(os.path.join(room, '*.py')) + glob.glob(os.path.join(room, '*', '__main__.py'))):
            with open(path) as file:
                runs = "__name__ == '__main__'" in file.read()
            name = os.path.basename(os.path.dirname(path) if path.endswith('__main__.py') else path[:-3])
            if runs and name != 'tools':
                found.setdefault(name, first_line(path))
    return found


if __name__ == '__main__':
    mend_streams()
    for name, says in sorted(tools().items()):
        print(f'{name:16} {says}')
