"""Everything needed to produce a checkpoint and measure it; nothing of serving."""
