"""Tables of models, trained and scored row by row: ``python -m train.experiments --help``."""
