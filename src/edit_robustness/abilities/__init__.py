"""What a model can do besides its edited facts: the evaluation harness's tasks, on the model in memory.

The harness says what is asked and how it is scored; asking is done here, since its own way runs a benchmark's examples
again for every option of every document.
"""
