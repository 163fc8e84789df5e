"""The arguments and options of commands: their types, times, and completion."""
