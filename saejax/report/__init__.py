"""Figures and a page that anyone can open, from the files of an analysis."""
