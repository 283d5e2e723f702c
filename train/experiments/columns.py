"""Columns that several tables show."""

from train.experiments.experiment import Column

TEXT_COLUMNS = (
    Column(key="bleu_2", title="BLEU-2", decimals=2),
    Column(key="bleu_4", title="BLEU-4", decimals=2),
    Column(key="entropy", title="entropy", decimals=2),
    Column(key="dist_1", title="Dist-1", decimals=3),
    Column(key="dist_2", title="Dist-2", decimals=3),
    Column(key="unique_replies", title="unique of 10", decimals=1),
    Column(key="relevance", title="relevance", decimals=3),
)
NLL = Column(key="nll", title="NLL", decimals=1, is_health=True)
