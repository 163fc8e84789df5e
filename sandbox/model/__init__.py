"""A scripted stand-in for the Anthropic Messages API, so that the real `claude` runs offline."""
