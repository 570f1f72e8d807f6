"""dmrc as Docker's plugin `docker-model`: what Compose asks of it, and what people type as `docker model`."""
