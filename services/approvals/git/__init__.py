"""The git repositories: what the manager proposes, what is deployed, and the log of deploys."""
