"""`python -m data.seal`, the former name of `python -m tools.seal`."""
import runpy

if __name__ == '__main__':
    runpy.run_module('tools.records.seal', run_name='__main__')
