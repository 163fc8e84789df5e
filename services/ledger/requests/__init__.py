"""The requests to the model API: reservations, and what they used."""
