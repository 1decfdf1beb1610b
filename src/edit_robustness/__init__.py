"""Edit Robustness: do edited facts hold, what do they cost the model, and which facts are hard to edit?"""

__version__ = "0.1.0"
