"""`dmrc export`: a project for another place than this machine."""
