"""The kernels: what they are told, how their code is generated, and how numba compiles it.

What is in this folder, and nothing else, decides which machine code is made: the name under which it is kept
(:mod:`.run.kernel_cache`) is a hash of all files here, so that no file here may import one from elsewhere.
"""

from importlib.util import find_spec

if find_spec("numba") is None:
    raise ModuleNotFoundError('numba is not installed: pip install "sparse-lightning[inference]"')
