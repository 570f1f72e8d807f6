"""Which model runs now: runners, the memory they need, and who has to wait."""
