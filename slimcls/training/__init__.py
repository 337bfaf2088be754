"""A model and items become the best weights: what is trained, how, and how it goes on."""
