"""What a visitor sees: the tabs, their components and handlers."""
