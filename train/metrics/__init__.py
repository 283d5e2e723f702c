"""Metrics of replies: counting apart from scoring, so that intervals come from the same counts."""
