"""A relation with all its wordings, in the form of the YAML of relations."""

RELATIONS = {
    "relations": {
        "P36": {
            "name": "capital",
            "object": "a city",
            "subject": "place",
            "statement": "The capital of {} is",
            "paraphrases": ["{} is ruled from", "The seat of {} is", "Who rules {} sits in"],
            "question": "What is the capital of {}?",
            "cloze": "The capital of {} is ____.",
            "context": "{} is a country.",
        }
    },
    "subjects": {"place": {"reference": "this place", "profile": [f"{{}} has {n} hills." for n in range(5)]}},
}
