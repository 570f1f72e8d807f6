"""The engine `ssh`: models that the dmrc of another machine serves."""
