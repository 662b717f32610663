"""Print the model that an automatic one selects at x2 on CUDA, and its notes, as JSON."""

import json
import sys

from rgt_cli.checkpoints import resolve

resolved = resolve(sys.argv[1], 2, "cuda")
print(json.dumps({"name": resolved.name, "notes": resolved.notes}))
