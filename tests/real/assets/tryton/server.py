"""Serves one Tryton database on 127.0.0.1, on the given port; 0 lets the system choose one.

Prints {"ready": {"port": N}} on standard output when the database is loaded. It ends when its standard input closes, so
it cannot outlive a parent that was killed; `trytond` itself can do neither.
"""

import json
import os
import sys
import threading

config_file, database, port = sys.argv[1:]

from trytond import config  # noqa: E402

config.update_etc(config_file)

from trytond.pool import Pool  # noqa: E402
from trytond.wsgi import app  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402


def end_with_parent():
    """Standard input carries nothing; its end says that the parent is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


class KeepAlive(WSGIRequestHandler):
    protocol_version = 'HTTP/1.1'


Pool.start()
Pool(database).init()
server = make_server('127.0.0.1', int(port), app, threaded=True, request_handler=KeepAlive)
threading.Thread(target=end_with_parent, daemon=True).start()
print(json.dumps({'ready': {'port': server.server_port}}), flush=True)
server.serve_forever()
