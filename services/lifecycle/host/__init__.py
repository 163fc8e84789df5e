"""The host: systemd, its journal, control groups, and what is in use."""
