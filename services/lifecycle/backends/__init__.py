"""Containers: their files, units, builds and root file systems."""
