"""Fakes of the services on a private bus: they answer with what tests put into them."""
