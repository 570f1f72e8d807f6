"""The chat completion that every dialect is turned into: its checks, and what is put right in it."""
