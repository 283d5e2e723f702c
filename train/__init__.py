"""Everything needed to produce a checkpoint and to measure it; never imports the serving side."""
