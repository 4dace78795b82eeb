"""Getting a token: client authentication, one request, and the reading of its answer."""
