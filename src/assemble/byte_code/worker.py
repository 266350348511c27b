# Compiles modules for imgforge: takes sources on the standard input, answers on the standard output, and ends with its
# input. Runs in every CPython from 3.8 on, without site-packages and without the environment's modules. Nothing of a source
# is executed. Numbers are four bytes, the smallest first.
import _imp
import marshal
import sys
from _frozen_importlib_external import MAGIC_NUMBER

read, write, flush = sys.stdin.buffer.read, sys.stdout.buffer.write, sys.stdout.buffer.flush


def answer(content):
    write(len(content).to_bytes(4, "little") + content)
    flush()


def number():
    return int.from_bytes(read(4), "little")


release = ".".join(map(str, sys.version_info[:3]))
stage = "" if sys.version_info[3] == "final" else sys.version_info[3]
flags = getattr(sys, "abiflags", "")
answer(f"{sys.implementation.name} {release}{stage}{flags} {sys.implementation.cache_tag}".encode())
answer(MAGIC_NUMBER)
while True:
    length = read(4)
    if len(length) < 4:
        break
    path = read(int.from_bytes(length, "little")).decode()
    source = read(number())
    try:
        code = marshal.dumps(compile(source, path, "exec", dont_inherit=True, optimize=0))
        # The hash is what checked files are compared by (PEP 552): unchecked ones have it too.
        answer(_imp.source_hash(int.from_bytes(MAGIC_NUMBER, "little"), source) + code)
    except Exception:
        answer(b"")
