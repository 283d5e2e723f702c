"""The page of a report: one HTML file that needs nothing but itself."""

from train.evaluate.page.rendering import write_page

__all__ = ["write_page"]
