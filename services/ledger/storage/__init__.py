"""The file of the ledger."""
