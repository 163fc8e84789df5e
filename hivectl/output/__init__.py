"""Output: texts, tables, JSON, and questions on a terminal."""
