"""The service: settings, models, batching, cache, live figures and the gRPC surface."""
