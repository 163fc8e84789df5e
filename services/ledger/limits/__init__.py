"""The limits of the provider, and the shares of agents in the rest."""
