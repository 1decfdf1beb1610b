"""Cost of an edit: time, memory and bytes of every method, beside EasyEdit where a clone of it is given.

    python -m benchmarks --model smollm2 --facts 10
    python -m benchmarks --model tiny:llama --methods rome ft --facts 3
    python -m benchmarks --methods rome --easyedit PATH_OF_CLONE --easyedit-python PYTHON_OF_ITS_ENVIRONMENT

Every method runs in a process of its own, with the threads asked for, so that its peak memory is its own. What is
common to both sides (`metering`, `scoring`, `jobs`) knows neither this project nor EasyEdit.
"""
