"""From corpora on disk to batches: corpora -> examples -> batches."""
