"""What a process must find when Keras starts in it."""

from __future__ import annotations

__all__ = ["environment"]

_COUNTS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def environment(backend: str, threads: int) -> dict[str, str]:
    """Return the variables that choose a backend and its threads.

    Parameters
    ----------
    backend : {"tensorflow", "jax", "torch"}
        Backend of Keras.
    threads : int
        Threads that compute.

    Returns
    -------
    dict of str to str
        Variables of the environment, read when Keras and its backend are imported.

    Examples
    --------
    >>> from ted_keras.demo.backends import environment
    >>> environment("jax", 1)["KERAS_BACKEND"]
    'jax'
    """
    eigen = str(threads > 1).lower()
    return {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
        **dict.fromkeys(_COUNTS, str(threads)),
    }
