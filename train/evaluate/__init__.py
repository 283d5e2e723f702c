"""The evaluation job: ``python -m train.evaluate --help``."""
