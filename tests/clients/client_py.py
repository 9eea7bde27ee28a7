"""The official Python client, SDK 1.x or 2.x, whichever is installed. Carries out a plan and prints what each step brought, as one line of
canonical JSON.

    echo '[{"method":"tools/list"}]' | python client_py.py '{"url":"http://…","token":"…"}'
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

import mcp

NEW = hasattr(mcp, "Client")
ProtocolError = mcp.MCPError if NEW else mcp.McpError


heard = []


async def on_log(params):
    heard.append({"log": params.data})


async def on_progress(_progress, _total, message):
    heard.append({"progress": message})


def show(value):
    print(json.dumps(value, sort_keys=True, ensure_ascii=False), flush=True)


def plain(result):
    return {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}


async def session_of(target, stack):
    if "command" in target:
        parameters = mcp.StdioServerParameters(command=target["command"][0], args=target["command"][1:])
        if NEW:
            return await stack.enter_async_context(mcp.Client(parameters, logging_callback=on_log))
        read, write = await stack.enter_async_context(mcp.stdio_client(parameters))
    elif NEW:
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        http = await stack.enter_async_context(create_mcp_http_client(headers=headers(target)))
        transport = streamable_http_client(target["url"], http_client=http)
        client = mcp.Client(transport, mode=target.get("mode", "auto"), logging_callback=on_log)
        return await stack.enter_async_context(client)
    else:
        from mcp.client.streamable_http import streamablehttp_client

        transport = streamablehttp_client(target["url"], headers=headers(target))
        read, write, _ = await stack.enter_async_context(transport)
    session = await stack.enter_async_context(mcp.ClientSession(read, write, logging_callback=on_log))
    await session.initialize()
    return session


def headers(target):
    return {"authorization": f"Bearer {target['token']}"} if target.get("token") else {}


async def step(session, method, params, progress):
    match method:
        case "tools/list":
            return await session.list_tools()
        case "tools/call":
            return await session.call_tool(params["name"], params.get("arguments") or {}, progress_callback=progress)
        case "resources/list":
            return await session.list_resources()
        case "resources/read":
            return await session.read_resource(params["uri"])
        case "prompts/list":
            return await session.list_prompts()
        case "prompts/get":
            return await session.get_prompt(params["name"], params.get("arguments") or {})
    raise SystemExit(f"no step {method}")


async def main():
    target = json.loads(sys.argv[1])
    plan = json.load(sys.stdin)
    async with AsyncExitStack() as stack:
        session = await session_of(target, stack)
        for item in plan:
            heard.clear()
            notes = item.get("notes")
            progress = on_progress if notes else None
            try:
                answer = plain(await step(session, item["method"], item.get("params") or {}, progress))
            except ProtocolError as error:
                problem = error.error
                answer = {"error": {"code": problem.code, "message": problem.message, "data": problem.data}}
            show({**answer, "notes": heard} if notes else answer)


try:
    asyncio.run(main())
except BaseException as problem:  # noqa: BLE001: a refused connection is what some tests ask for
    if isinstance(problem, SystemExit):
        raise
    show({"refused": {"message": repr(problem)}})
    sys.exit(3)
