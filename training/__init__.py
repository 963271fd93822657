"""Makes `models/tiny`: questions about drawn scenes, tokenizer, training and evaluation."""
