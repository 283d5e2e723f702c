"""Latent-variable encoder-decoders: they know tensors and token ids, nothing of text or serving."""
