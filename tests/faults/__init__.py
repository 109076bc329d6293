"""Faults that a run or a reader must survive, each tried many times: `python -m tests.faults`, or `make faults`."""
