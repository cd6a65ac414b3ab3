"""Strict JAX on eight fake devices, for every test."""

from absl import flags
import jax

flags.FLAGS.mark_as_parsed()  # absl's temporary folders ask for flags.
jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')
