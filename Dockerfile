# One producer. Its state, the spool above all, is in /state: give it a volume.
#
#   docker build -t mcloud .
#   docker run --read-only --tmpfs /tmp -v mcloud-state:/state -v ./mcloud.toml:/app/mcloud.toml:ro \
#     mcloud --profile prod produce --symbols BTCUSDT,ETHUSDT
#
# With another `--name`, say so to the health check too: `-e PRODUCER=NAME`.
FROM python:3.13-slim AS build
COPY . /source
RUN pip install --no-cache-dir --prefix=/install /source

FROM python:3.13-slim
COPY --from=build /install /usr/local
RUN useradd --uid 10001 --no-create-home mcloud && mkdir -m 700 /state /app && chown mcloud /state /app
USER mcloud
WORKDIR /app
VOLUME /state
ENV MCLOUD_STATE=/state PRODUCER=default PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Healthy while the producer runs and has spoken within the last seconds, whatever others have left.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD mcloud -q ps "$PRODUCER" --check
# SIGTERM makes it deliver what it has read.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mcloud"]
CMD ["produce"]
