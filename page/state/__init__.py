"""What the page knows of its visitors and their models: data."""
