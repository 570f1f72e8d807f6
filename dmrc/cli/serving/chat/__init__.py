"""`dmrc run` as a conversation: the client, what is typed, and the files that a prompt names."""
