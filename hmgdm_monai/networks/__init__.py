"""Entity autoencoder, graph encoder, graph denoiser and readouts."""
