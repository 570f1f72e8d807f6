"""The engine `vllm`: vLLM's own server, for models in safetensors."""
