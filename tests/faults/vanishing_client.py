"""A client that has many calls under way until it is killed: ``python vanishing_client.py TARGET``.

Says so on stdout once a stream has had its first reply; most calls then wait in the queue.
"""

import asyncio
import sys

import grpc

from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc

CALLS = 12  # of each of two kinds
REQUEST_ID = "vanishing"


async def main(target: str) -> None:
    request = pb.GenerateRepliesRequest(
        turns=[pb.Turn(text="I shall be gone")], reply_count=2, cache_mode=pb.CACHE_MODE_BYPASS
    )
    named = {"metadata": [("x-request-id", REQUEST_ID)]}
    async with grpc.aio.insecure_channel(target) as channel:
        stub = dialog_pb2_grpc.DialogServiceStub(channel)
        asked = pb.StreamRepliesRequest(request=request)
        streams = [stub.StreamReplies(asked, **named) for _ in range(CALLS)]
        calls = [stub.GenerateReplies(request, **named) for _ in range(CALLS)]
        await streams[0].read()
        print("under way", flush=True)
        await asyncio.gather(*calls)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
