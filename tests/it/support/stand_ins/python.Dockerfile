# Debian's Python where the official slim image has its own build: the interpreter and its library under /usr/local, pip,
# and an environment that pip may install into.
ARG BASE
FROM ${BASE}
ARG PYTHON
RUN apt-get update \
    && apt-get install -y --no-install-recommends "python${PYTHON}" "python${PYTHON}-venv" python3-pip \
    && rm -rf /var/lib/apt/lists/* "/usr/lib/python${PYTHON}/EXTERNALLY-MANAGED" \
    && for name in python python3 "python${PYTHON}"; do ln -s "/usr/bin/python${PYTHON}" "/usr/local/bin/${name}"; done \
    && ln -s /usr/bin/pip3 /usr/local/bin/pip \
    && rm -rf "/usr/local/lib/python${PYTHON}" \
    && ln -s "/usr/lib/python${PYTHON}" "/usr/local/lib/python${PYTHON}"
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["python3"]
