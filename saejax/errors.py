"""The exceptions that programs end on with one line."""


class UserError(ValueError):
  """A mistake of the person at the keyboard; programs print its one line.

  The message says what was wrong, what was found, what was expected and what
  to do. `store.StoreError` is its like for the store, which stands alone.
  """


class Stopped(Exception):
  """A run that was told to stop, has saved where it is, and can go on."""
