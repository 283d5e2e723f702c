"""The papers' tables, trained and scored row by row: ``python -m train.experiments --help``."""
