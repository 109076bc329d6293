"""python -m tools.sweep: tools/sweep/grid.py."""
import sys

from cli.exits import run_script
from tools.sweep.grid import main

if __name__ == '__main__':
    sys.exit(run_script(main))
