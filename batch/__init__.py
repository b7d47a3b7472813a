"""Many photos edited in one go: the job, its files, and what came of each photo."""
