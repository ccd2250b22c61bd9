"""The parts of the page of a run, from top to bottom: answers, what was run, curves, gap, belief, rows, latents."""
