"""One training run: its settings, its state, its loop, and what it leaves in its folder.

`train(config)` runs or resumes a run; `load_run(folder)` gives the model back. Importing this package imports no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
