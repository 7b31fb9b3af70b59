"""Training on several machines that share a folder or a bucket, and nothing else."""
