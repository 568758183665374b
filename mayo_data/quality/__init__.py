"""Quality gates: what must hold at every arrow, and what happens when it does not."""
