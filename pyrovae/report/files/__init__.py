"""The files in the folder of a run, by what was run and how it ended."""
