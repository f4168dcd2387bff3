"""Networks of the self-supervised methods: H-MGDM, GraphMAE, DiRL, masked autoencoders."""
