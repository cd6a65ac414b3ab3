"""The concept explorer: a static site made from analyses, and its reader.

Needs NumPy and Pillow; neither JAX nor torch. docs/explorer.md has the format.
"""
