"""Are these gradients right, and if not, which mistake made them wrong?

``check.py`` checks a config's own network, ``code.py`` a user's program; both return a `Report`.
"""
