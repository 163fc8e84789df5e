"""What agents hand back: changes, their review and their way into upstream."""
