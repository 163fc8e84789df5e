"""Files in directories that an agent may change, without following its links."""
