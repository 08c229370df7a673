"""Serves localstripe on 127.0.0.1, on the given port; 0 lets the system choose one. (Its own launcher listens everywhere.)

Prints {"ready": {"port": N}} on standard output when it answers. It ends when its standard input closes, so it cannot outlive a
parent that was killed. What it holds is in memory only.
"""

import asyncio
import json
import os
import sys
import threading

from aiohttp import web
from localstripe.resources import Store
from localstripe.server import app

# It would write everything to one file in /tmp, at every change, whoever else does the same there.
Store.dump_to_disk = lambda store: None


def end_with_parent():
    """Standard input carries nothing; its end says that the parent is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


async def main():
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, '127.0.0.1', int(sys.argv[1])).start()
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps({'ready': {'port': runner.addresses[0][1]}}), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
