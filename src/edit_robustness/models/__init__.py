"""The language model as the rest of the project uses it: sites to edit, hooks, tokens and greedy decoding."""
