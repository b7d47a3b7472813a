"""What the page does for its visitors: inversions, edits, batches, and where they run."""
