"""`python -m benchmark.cli` is `benchmark`."""

from benchmark.cli.commands import main

raise SystemExit(main())
