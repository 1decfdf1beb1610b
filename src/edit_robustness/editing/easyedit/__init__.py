"""A clone of EasyEdit that edits in a process of its own, with its own Python, and exchanges files with this project.

`process` starts the process and reads what it makes. `script` is what it runs: it imports nothing of this project.
"""
