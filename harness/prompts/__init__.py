"""The texts that the model gets, and the code that composes them."""
