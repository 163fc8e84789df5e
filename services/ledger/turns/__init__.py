"""The turns of agents, as their harnesses report them."""
