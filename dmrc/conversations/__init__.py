"""Conversations: the requests of one run of an application, read from the record for people."""
