"""What a person types -> the instruction that the model gets."""
