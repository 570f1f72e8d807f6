"""Commands about the models in the store."""
