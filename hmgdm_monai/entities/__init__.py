"""Entity encoders: frozen, from a tile with its entities to one latent for each vertex and each edge."""
