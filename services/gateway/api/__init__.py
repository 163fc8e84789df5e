"""The Messages API, passed on."""
