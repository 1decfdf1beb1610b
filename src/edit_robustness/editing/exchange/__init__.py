"""Import and export: model folders, PEFT adapters and model cards."""
