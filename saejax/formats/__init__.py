"""SAEs that others released, read into ours: one format a file."""
