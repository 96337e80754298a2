"""kazoo at its defaults, living through what its servers do.

For each line of its input it does something until it succeeds, and then tells the line and what
must never change: the session to which its znode belongs. The argument is the hosts.
"""

import sys
import time

from kazoo.client import KazooClient

client = KazooClient(sys.argv[1])
client.start()
client.create("/outlive-kazoo", b"", ephemeral=True)
for line in sys.stdin:
    while True:
        try:
            stat = client.set("/outlive-kazoo", b"x")
            print("did", line.strip(), "%x" % stat.ephemeralOwner, flush=True)
            break
        except Exception as e:
            print("failed:", repr(e), flush=True)
            time.sleep(0.05)
