"""Taking over containers that nixos-container made; `hivectl import-nixos` runs it as root."""
