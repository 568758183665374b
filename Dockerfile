# The job image: mayo-data and what requirements.lock pins, no compiler, no shell script, no secret.
#
#   docker build -t mayo-data .
#   docker run --rm --read-only --network none --tmpfs /tmp --user 10001:10001 \
#     -v EXPORT:/in:ro -v STORES:/store -v PHI:/phi -v KEY:/run/secrets/site.key:ro \
#     mayo-data run fhir.toml --input /in --store /store/site --phi-zone /phi/site --key-file /run/secrets/site.key

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/mayo && /opt/mayo/bin/pip install --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY mayo_data mayo_data
COPY schemas schemas
COPY pipelines pipelines
# The build backend is needed here only: it stays out of the image.
RUN python -m pip install "hatchling>=1.25" \
    && python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/mayo/bin/pip install --no-deps /wheels/*.whl \
    && /opt/mayo/bin/python -m compileall -q /opt/mayo/lib \
    && /opt/mayo/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim
COPY --from=build /opt/mayo /opt/mayo
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin job
ENV PATH=/opt/mayo/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp TMPDIR=/tmp
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["mayo-data"]
CMD ["--help"]
