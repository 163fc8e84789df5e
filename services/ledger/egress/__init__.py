"""The hosts that agents used, the refusals, and the operator's decisions."""
