"""The error of all steps of an installation."""


class InstallError(Exception):
    """A failure; its text tells the operator what to do."""
