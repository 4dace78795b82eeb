"""All orders of events of several replicas that share nothing but AWS, over the production code.

`explore.py` tries them, `replica.py` runs the production code, `secret.py` is AWS. For more than
the test suite has time for:

    PYTHONPATH=tests python -m interleavings --replicas 3 --crashes 2
"""
