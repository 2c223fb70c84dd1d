"""UMAE, a masked autoencoder of pictures of one specimen at four magnifications."""
