"""Budgets: their limits, the use of them, and the holds of those that are used up."""
