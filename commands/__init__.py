"""The commands of the command line, and what they share. For cli.py alone."""
