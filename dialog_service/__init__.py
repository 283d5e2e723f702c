"""Replies from latent-variable encoder-decoders, and the service that gives them."""
