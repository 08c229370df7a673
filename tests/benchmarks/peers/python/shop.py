"""What the peers have in common: the mapping, and booking a batch with requests at the same time.

Every peer does what its own documentation recommends: its own client with its own way of repeating, its own state, batches of 50, and
16 requests at the same time, because `requests` has a thread for each.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

API = os.environ["API"]
STATE = os.environ["STATE"]
PAGE = 250
BATCH = 50
AT_ONCE = 16

_pool = ThreadPoolExecutor(AT_ONCE)
_sessions = threading.local()


def sale(order):
    return {
        "reference": order["number"],
        "version": order["version"],
        "customer": {"name": order["customer"]["name"], "email": order["customer"]["email"]},
        "currency": order["currency"],
        "total": order["total"],
        "lines": [
            {"sku": line["sku"], "name": line["name"], "quantity": line["quantity"], "unit_price": line["unit_price"]}
            for line in order["lines"]
        ],
    }


def session():
    """One for each thread. Repeats 429 when Retry-After says so."""
    if not hasattr(_sessions, "session"):
        _sessions.session = requests.Session()
        retry = Retry(total=20, status_forcelist=[429, 503], allowed_methods=None, respect_retry_after_header=True)
        _sessions.session.mount("http://", HTTPAdapter(max_retries=retry))
        _sessions.session.trust_env = False
    return _sessions.session


def book(order):
    key = f"order-{order['id']}-{order['version']}"
    session().post(f"{API}/sales", json=sale(order), headers={"Idempotency-Key": key}).raise_for_status()


def book_all(orders):
    for _ in _pool.map(book, orders):
        pass
