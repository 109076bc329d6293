"""Files of weights: arrays, what they are, and how they are written. Also part of the installed package (setup.py)."""
