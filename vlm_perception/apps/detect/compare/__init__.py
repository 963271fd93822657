"""Several models, servers, prompts or settings on the same pictures: `vlm-detect --compare A --compare B`."""
