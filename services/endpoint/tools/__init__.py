"""The tools that agents and the harness call: one module a subject, and the table of all."""
