"""The changes that agents hand back, their review, and their way into upstream."""
