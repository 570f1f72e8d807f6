"""Recorded requests that the page has sent again to several models: jobs of the daemon."""
