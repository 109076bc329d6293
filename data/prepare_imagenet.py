"""`python -m data.prepare_imagenet`, the former name of `python -m tools.prepare_imagenet`."""
import runpy

if __name__ == '__main__':
    runpy.run_module('tools.records.prepare_imagenet', run_name='__main__')
