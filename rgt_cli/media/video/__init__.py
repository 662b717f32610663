"""Films: their frames, their sound and everything else, in and out of files."""
