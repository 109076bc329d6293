"""How it learns: plain functions for devices, schedule, loss, loop, checkpoint and log."""
