"""Ask edited models: compute answers from probes and edits, and hold conversations."""
