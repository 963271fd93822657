"""Makes the tiny checkpoints: questions about drawn scenes, tokenizer, training and evaluation."""
