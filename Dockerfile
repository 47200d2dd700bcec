# CPU:   docker build -t segmi .
# CUDA:  docker build -t segmi:cuda --build-arg DEVICE=cuda .
# Use:   docker run --rm -v "$PWD:/data" segmi train my-data --output runs/mine      (CUDA: add --gpus all)
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# cpu or cuda. The default wheels of PyTorch contain the CUDA libraries: the host needs a driver and the NVIDIA Container
# Toolkit only. CPU wheels have a separate index.
ARG DEVICE=cpu
ARG EXTRAS=all

COPY constraints.txt /tmp/constraints.txt
RUN if [ "$DEVICE" = cpu ]; then \
      pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu -c /tmp/constraints.txt torch torchvision; \
    fi
COPY pyproject.toml README.md LICENSE /tmp/segmi/
COPY src /tmp/segmi/src
COPY studies /tmp/segmi/studies
RUN pip install --no-cache-dir -c /tmp/constraints.txt "/tmp/segmi[${EXTRAS}]"

RUN useradd --create-home --uid 1000 segmi && mkdir /data && chown segmi /data
USER segmi
WORKDIR /data
ENTRYPOINT ["segmi"]
CMD ["--help"]
