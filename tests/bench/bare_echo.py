"""A bare grpc.aio server that gives back what it gets; run as a program, it prints its port."""

import asyncio

import grpc

ECHO = "/bench/Echo"


async def echo_server() -> tuple[grpc.aio.Server, int]:
    """A server under way, and its port."""

    async def give_back(request: bytes, _: object) -> bytes:
        return request

    server = grpc.aio.server()
    _, name, method = ECHO.split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(give_back)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def main() -> None:
    """Serve until killed."""
    server, port = await echo_server()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
