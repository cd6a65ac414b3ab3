"""saejax: sparse autoencoders on vision-language models, in JAX."""
