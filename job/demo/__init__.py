"""The whole job on this machine: an embedded authorization server and a live view of the work."""
