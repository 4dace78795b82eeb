# freshtoken as an image: no root, no shell, nothing writable but /run/freshtoken.
#
#   docker build --tag freshtoken .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges \
#     --volume tokens:/run/freshtoken \
#     --volume ./freshtoken.toml:/etc/freshtoken/freshtoken.toml:ro \
#     --env TIKI_CLIENT_SECRET freshtoken
#
# Readers share the volume, as a folder: a file that is mounted by itself can't be replaced. In
# memory, with Docker: --tmpfs /run/freshtoken:uid=65532,gid=65532,mode=0750
# BASE is any image with Python 3.11 or newer and its venv module; pin it by digest.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements requirements
# Two environments: pip and the build backend stay behind in the first. The pins come before the
# sources, so that a change in job/ leaves this layer as it is.
RUN python3 -m venv /build \
 && python3 -m venv --without-pip /opt/freshtoken \
 && /build/bin/pip install --require-hashes -r requirements/build.txt \
 && /build/bin/pip --python /opt/freshtoken/bin/python3 install --no-compile \
        --require-hashes -r requirements/run.txt
COPY LICENSE README.md pyproject.toml ./
COPY job job
# Unchecked bytecode: the sources below it never change, and no start has to look at each of them.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /build/bin/pip --python /opt/freshtoken/bin/python3 install --no-compile \
        --no-deps --no-index dist/*.whl \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/freshtoken/lib \
 && mkdir /empty

FROM ${BASE}
LABEL org.opencontainers.image.title="freshtoken" \
      org.opencontainers.image.description="Keeps OAuth 2.0 client-credentials tokens current in a file or AWS Secrets Manager." \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/freshtoken /opt/freshtoken
COPY --from=build --chown=65532:65532 /empty /run/freshtoken
ENV PATH=/opt/freshtoken/bin:${PATH}
# Slim images come without the bytecode of Python's own modules; on a read-only root file system
# every start would compile them again. This writes it for the modules that the job loads.
RUN ["python3", "-c", "import boto3, job.cli, job.runners.daemon, job.observe.log, job.oauth.exchange, job.compose.refreshers"]
ENV PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
VOLUME ["/run/freshtoken"]
STOPSIGNAL SIGTERM
# Unhealthy: a token is past its refresh time, expired or missing in a sink. Each look at a secret
# in AWS Secrets Manager is a paid call, so it looks every two minutes only.
HEALTHCHECK --interval=2m --timeout=15s --start-period=30s --retries=3 CMD ["freshtoken", "status"]
ENTRYPOINT ["freshtoken"]
CMD ["run"]
