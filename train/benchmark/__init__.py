"""How fast a training step is, and how near to what the machine's matrix products allow."""
