"""What files exist, where they come from, their hashes and licences; fetching, verifying, and the bundled default."""
