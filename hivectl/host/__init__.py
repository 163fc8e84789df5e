"""Files and programs of this host: backups, the journal, Claude Code's login."""
