#!/usr/bin/env python3
"""A registry at a distance: a TCP proxy on a free loopback port, which it prints, that hands everything on late.

    distance.py PORT MILLISECONDS

Each way takes half of the round trip, and a new connection takes one round trip more, as TCP's own greeting does.
"""

import asyncio
import sys
import time

LARGEST = 1 << 18
# Pieces under way in one direction: enough for the line to be full, and a slow reader is noticed.
UNDER_WAY = 64


async def hand_on(reader, writer, delay):
    pieces = asyncio.Queue(UNDER_WAY)

    async def deliver():
        try:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0, due - time.monotonic()))
                if not piece:
                    writer.write_eof()
                    return
                writer.write(piece)
                await writer.drain()
        finally:
            # Whoever waits for room need not.
            while not pieces.empty():
                pieces.get_nowait()

    delivery = asyncio.create_task(deliver())
    try:
        piece = b"-"
        while piece and not delivery.done():
            piece = await reader.read(LARGEST)
            await pieces.put((time.monotonic() + delay, piece))
        await delivery
    finally:
        delivery.cancel()


async def main(port, delay):
    async def connect(reader, writer):
        await asyncio.sleep(2 * delay)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = hand_on(reader, far_writer, delay), hand_on(far_reader, writer, delay)
        # A connection that is cut ends, whoever cut it.
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, far_writer):
            end.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 2000))
