"""The API server, counting its steps; for `steps`, which starts it."""
from __future__ import annotations

import sys

from kubepy.apiserver.main import main
from tests.bench import counting

if __name__ == "__main__":
    counting.install()
    sys.exit(main(sys.argv[1:]))
