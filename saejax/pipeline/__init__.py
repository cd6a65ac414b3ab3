"""The stages as functions of folders: what the programs call.

Each reads the files of the stage before and writes those of the next, and has
no flags of its own.
"""
