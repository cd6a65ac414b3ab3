"""saejax: sparse autoencoders on vision-language models, in JAX.

`saejax.load(path)` and `saejax.save(path, sae, variables)` read and write
dictionaries. They are imported when asked for, so that `saejax.ops` needs
nothing but JAX.
"""


def __getattr__(name: str):
  if name in ('load', 'save'):
    from saejax import io

    return getattr(io, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
