"""Videos: decode and encode their frames, and copy everything else."""
