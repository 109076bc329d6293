"""What the scripts and tools share: the table of flags, what is built from them, and how a script leaves."""
