"""What the errors of a device mean: memory that ran out, or a device that is gone.

Libraries below torch say both in words of their own, so the words are what is looked at.
"""

from __future__ import annotations

import re

import torch

# In lower case. cuBLAS and cuDNN cannot even start where their workspaces find no room, and on a Jetson torch fails
# in an assertion about NVML while it writes the message that memory ran out.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "outofmemory",
    "std::bad_alloc",
    "cublas_status_not_initialized",
    "cublas_status_alloc_failed",
    "cudnn_status_not_initialized",
    "status_alloc_failed",
    "allocation_failed",
    "nvml_success == r",
)
# CUDA's own words for errors after which its context cannot be used ("CUDA Runtime API", cudaError_t),
# and how torch and the driver write them.
_LOST = (
    "illegal memory access",
    "misaligned address",
    "illegal instruction",
    "device-side assert",
    "unspecified launch failure",
    "launch timed out",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "hardware stack error",
    "cuda-capable device(s) is/are busy or unavailable",
    "no cuda-capable device",
    "gpu has fallen off the bus",
    "gpu is lost",
    "driver shutting down",
    "context is destroyed",
    "mps server",
    "hiperrorillegaladdress",
    "hiperrorlaunchfailure",
)
_XID = re.compile(r"\bxid\b", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of torch, the libraries below it, or Python means that memory ran out."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Tell whether an error means that nothing can be computed any more in this process."""
    # What torch raises for its libraries; any other error may quote such words without meaning them.
    if not isinstance(error, RuntimeError):
        return False
    return any(sign in str(error).lower() for sign in _LOST) or _XID.search(str(error)) is not None
