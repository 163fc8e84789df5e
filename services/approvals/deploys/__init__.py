"""Carrying out the approved requests, and keeping git and the list of agents up to date."""
