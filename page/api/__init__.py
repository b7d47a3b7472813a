"""What other programs and agents call."""
