"""What makes the bundled files and the pictures of docs/; nothing imports it."""
