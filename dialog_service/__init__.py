"""Several different replies to one utterance, over gRPC: everything needed to load and answer."""
