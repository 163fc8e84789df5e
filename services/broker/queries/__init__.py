"""Read access: the history, search, and the open threads."""
