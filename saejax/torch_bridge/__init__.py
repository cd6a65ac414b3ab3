"""What needs torch, which is no requirement: imported where it is called."""
