"""``hexiao replay``: the records of a real coupon programme, driven through the public HTTP API.

What every act must answer and what every sum must come to is computed from the records alone
(``records``, ``rules``, ``settlement``); nothing here imports the engine or the API.
"""
