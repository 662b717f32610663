"""Print the model that "auto" selects at x2 on CUDA, and its notes, as JSON."""

import json

from rgt_cli.checkpoints import resolve

resolved = resolve("auto", 2, "cuda")
print(json.dumps({"name": resolved.name, "notes": resolved.notes}))
