"""Why is this program's backward pass wrong? A program of the user's beside a reference whose gradients are right.

``program/`` runs it, ``mistakes/`` knows what may be wrong, ``search/`` finds which of them explains its gradients;
``check_program.py`` does all three and returns a report.
"""
