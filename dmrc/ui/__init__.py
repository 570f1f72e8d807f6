"""The web page: requests, models, projects and a playground, on loopback, for a browser that `dmrc ui` has opened."""
