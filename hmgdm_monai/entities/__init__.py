"""Entity encoders: frozen networks that compute a latent for each vertex and edge of a tile's entity graph."""
