# The notebooks on an NVIDIA GPU, with JupyterLab on port 8888:
#   docker build -t pediatric-pneumonia . && docker run --gpus all -p 8888:8888 pediatric-pneumonia
FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y git make \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home student
USER student
WORKDIR /home/student/pediatric-pneumonia
COPY --chown=student . .
RUN make .uv/bin/uv \
    && .uv/bin/uv sync --frozen --compile-bytecode --extra gpu --extra test --no-cache \
    && touch .venv/.complete
ENV PATH="/home/student/pediatric-pneumonia/.venv/bin:$PATH"
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--notebook-dir=."]
