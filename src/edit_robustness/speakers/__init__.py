"""Those who write and talk: a local model, an endpoint, a script; testers, judges and writers of prompts are such."""
