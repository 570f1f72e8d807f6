"""`dmrc diff`: what the application really sent, sent to something else."""
