"""Qwen's models in this process, through transformers."""
