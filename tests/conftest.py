"""For all tests: one torch thread, since tests share the machine's cores with each other and with what they start."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
