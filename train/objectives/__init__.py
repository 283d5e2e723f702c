"""The loss of a run: reconstruction plus weighted terms, in nats per example."""
