"""The state of the hive as pages show it: tables of rows and the log of their changes."""
