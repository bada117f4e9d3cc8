# One image, several commands. Runs as a fixed unprivileged user on a read-only root file system; only /data is written.
# Without the extras `devstack` and `dev`: no Java, no PostgreSQL, no test tools.
FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.12-slim
# The uid that may read the secret files; compose passes the one that infra/compose_secrets.py wrote to .env.
ARG UID=10001
RUN useradd --uid ${UID} --no-create-home --shell /usr/sbin/nologin dongui && install -d -m 0700 -o ${UID} /data /copies
COPY --from=build /venv /venv
COPY schemas /app/schemas
COPY services /app/services
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DONGUI_DATA_DIR=/data
WORKDIR /app
USER ${UID}
CMD ["python", "-m", "services.consent"]
