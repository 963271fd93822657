"""The web page `vlm-perception-ui`. Nothing outside this folder needs it, and only `page.py` imports Gradio."""
