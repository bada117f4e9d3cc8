# One image, several commands. Runs as a fixed non-root user on a read-only root file system.
FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.12-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin dongui && install -d -o dongui /data
COPY --from=build /venv /venv
COPY schemas /app/schemas
COPY services /app/services
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DONGUI_DATA_DIR=/data
WORKDIR /app
USER 10001:10001
CMD ["python", "-m", "services.consent"]
