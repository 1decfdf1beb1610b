"""What comes from elsewhere and what goes there: model folders, PEFT adapters, cards."""
