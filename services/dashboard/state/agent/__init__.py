"""The reports of an agent about its turns, as rows of its page.

An agent reports its turns itself, and may be hostile: every value is checked, bounded, and shown as
the kind of text that it is. A row has only fields that these modules make.
"""
