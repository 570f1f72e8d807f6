"""Hooks: their contracts, and the loading of the plugins that implement them."""
