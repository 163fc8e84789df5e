"""The sqlite file: opening, writing, locking."""
