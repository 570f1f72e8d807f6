"""`dmrc top`: what happens now, on a full screen."""
