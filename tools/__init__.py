"""What people run around a training, a folder for each purpose. `python -m tools.NAME` finds NAME in any of them."""
import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the repository

__path__ += [os.path.join(__path__[0], room) for room in ('look', 'machine', 'records', 'share', 'sweep')]
