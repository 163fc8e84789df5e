"""The projects of the agent: working copies of repositories that the host keeps."""
