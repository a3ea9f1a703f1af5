# One image for every role: coordinator, site, operator. No compiler, no package installer at run time, no root.
# A tag moves with the security updates of Python and Debian; one with a digest (NAME@sha256:...) stays as it is.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN python -m venv /opt/consilium
ENV PATH=/opt/consilium/bin:$PATH

# The ordinary index has PyTorch with several gigabytes of GPU libraries; this one has it without. Empty: the ordinary one.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY constraints.txt .
RUN pip install --no-deps -c constraints.txt torch ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"}

COPY pyproject.toml .
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
        print(*p['build-system']['requires'], *p['project']['dependencies'], sep='\n')" > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt

COPY . .
# What only a compiler, a package's own tests or a download at run time would need does not go into the image.
RUN pip install --no-deps --no-build-isolation . \
    && pip uninstall --yes setuptools pip \
    && rm -rf /opt/consilium/bin/uv /opt/consilium/bin/uvx \
    && cd /opt/consilium/lib/python3.11/site-packages \
    && rm -rf torch/include pyarrow/include pyarrow/tests pandas/tests \
    && find sympy networkx -type d -name tests -prune -exec rm -rf {} +

FROM ${PYTHON_IMAGE}
# nginx is the gateway in front of Flower's SuperLink, and serves the report.
RUN apt-get update -q && apt-get install -y -q --no-install-recommends nginx-light && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 consilium \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin consilium \
    && install -d -o 10001 -g 10001 -m 0700 /link /gateway /coordinator /coordinator/runs /site \
        /kits/authority /kits/link /kits/gateway /kits/coordinator /kits/north /kits/harbour /kits/valley
COPY --from=build /opt/consilium /opt/consilium
COPY deploy/compose /opt/consilium/compose
# Flower: no call to telemetry, update or package hosts.
ENV PATH=/opt/consilium/bin:/usr/sbin:$PATH HOME=/tmp \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1
USER 10001:10001
WORKDIR /tmp
CMD ["consilium", "--help"]
