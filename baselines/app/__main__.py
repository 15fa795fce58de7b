"""`python -m baselines.app`."""

from baselines.app import main

raise SystemExit(main())
