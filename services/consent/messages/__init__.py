"""Messages to members: queued in the transaction of their cause, sent from a durable table, each sending evidenced.

`queue.py` is what other parts call; `wishes.py` and `scan.py` say what becomes due; `sender.py` sends.
"""
