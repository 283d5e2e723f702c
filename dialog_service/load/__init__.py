"""A load generator: what is sent, when, and what became of it. A client like any other."""
