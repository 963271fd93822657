"""Servers over HTTP that speak OpenAI's chat completions, as vLLM, SGLang, llama-server and hosted ones do."""
