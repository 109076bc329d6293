"""The package `atac` is model/ with runtime.py, disk.py and training/weights/ inside of it: see pyproject.toml."""
import os
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRuntime(build_py):
    """Put the files of the top level that the package needs into it."""

    def run(self):
        if getattr(self, 'editable_mode', False):
            raise SystemExit('atac is put together from several folders: install it without -e')
        shutil.rmtree(os.path.join(self.build_lib, 'atac'), ignore_errors=True)  # of an earlier version
        super().run()
        for name in ('runtime.py', 'disk.py'):
            shutil.copyfile(name, os.path.join(self.build_lib, 'atac', name))


setup(cmdclass={'build_py': BuildWithRuntime})
