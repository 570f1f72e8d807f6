"""Commands about models that run, and the daemon."""
