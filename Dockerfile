# UNTESTED: this file was never built; tests compare it with pyproject.toml and the Makefile. Tell us what breaks.
#   docker build --tag frazil:0.1.0 .
#   docker run --rm -v "$PWD:/data" frazil:0.1.0 map /data/S1A_EW_GRDM_1SDH_….SAFE -o /data/map
FROM python:3.12-slim

# PyTorch for CPUs, by itself and first: any other way may pull gigabytes of packages for GPUs.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0

WORKDIR /opt/frazil
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt '.[fast,learn,archive]' \
    && useradd --create-home frazil

USER frazil
WORKDIR /data
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["frazil"]
CMD ["--help"]
