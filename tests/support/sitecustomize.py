"""What each process that the tests start imports first."""

import torchvision_ops  # noqa: F401
