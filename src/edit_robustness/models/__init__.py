"""The language model as every other room sees it: sites to edit, hooks, tokens and greedy decoding."""
