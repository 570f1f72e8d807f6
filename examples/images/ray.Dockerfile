# Nodes of Ray for `dmrc export kubernetes --overlay ray`: Ray, dmrc's plugin for it, and llama.cpp's server.
#
#   docker build -t registry.example/dmrc-ray -f examples/images/ray.Dockerfile .
ARG RAY=rayproject/ray:2.60.0-py311
ARG LLAMA_CPP=ghcr.io/ggml-org/llama.cpp:server
FROM ${LLAMA_CPP} AS llama
FROM ${RAY}
COPY --from=llama /app /opt/llama.cpp
COPY --chown=ray . /home/ray/dmrc
RUN pip install --no-cache-dir /home/ray/dmrc /home/ray/dmrc/plugins/dmrc-ray && rm -rf /home/ray/dmrc
ENV PATH=/opt/llama.cpp:$PATH
ENV LD_LIBRARY_PATH=/opt/llama.cpp
