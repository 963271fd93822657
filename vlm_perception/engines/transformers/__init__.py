"""Qwen2.5-VL in this process, through transformers."""
