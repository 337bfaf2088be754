# An exported classifier behind HTTP: no torch, no compiler, not root.
#   docker build -t slimcls-serve .
#   docker run --rm -p 8000:8000 --read-only --tmpfs /tmp -v "$PWD/small:/model:ro" slimcls-serve
FROM python:3.11-slim AS build
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY slimcls /src/slimcls
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -c /src/constraints.txt '/src[serve]'

FROM python:3.11-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 65534:65534
EXPOSE 8000
HEALTHCHECK --start-period=20s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
# The exec form: SIGTERM reaches the server itself.
CMD ["slimcls", "serve", "/model", "--host", "0.0.0.0"]
