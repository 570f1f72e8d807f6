"""What commands about a project share: reading it, and making it ready."""
