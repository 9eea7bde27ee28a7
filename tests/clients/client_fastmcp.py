"""The client of FastMCP 4. Carries out a plan and prints what each step brought, as one line of canonical JSON.

    echo '[{"method":"tools/list"}]' | python client_fastmcp.py '{"url":"http://…","token":"…"}'
"""

import asyncio
import json
import sys

import mcp
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


def show(value):
    print(json.dumps(value, sort_keys=True, ensure_ascii=False), flush=True)


def transport_to(target):
    if "command" in target:
        return StdioTransport(target["command"][0], target["command"][1:], keep_alive=False)
    headers = {"authorization": f"Bearer {target['token']}"} if target.get("token") else {}
    return StreamableHttpTransport(target["url"], headers=headers)


async def step(client, method, params):
    match method:
        case "tools/list":
            return await client.list_tools_mcp()
        case "tools/call":
            return await client.call_tool_mcp(params["name"], params.get("arguments") or {})
        case "resources/list":
            return await client.list_resources_mcp()
        case "resources/read":
            return await client.read_resource_mcp(params["uri"])
        case "prompts/list":
            return await client.list_prompts_mcp()
        case "prompts/get":
            return await client.get_prompt_mcp(params["name"], params.get("arguments") or {})
    raise SystemExit(f"no step {method}")


async def main():
    target = json.loads(sys.argv[1])
    plan = json.load(sys.stdin)
    async with Client(transport_to(target)) as client:
        for item in plan:
            try:
                result = await step(client, item["method"], item.get("params") or {})
                show({"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)})
            except mcp.MCPError as error:
                problem = error.error
                show({"error": {"code": problem.code, "message": problem.message, "data": problem.data}})


try:
    asyncio.run(main())
except BaseException as problem:  # noqa: BLE001: a refused connection is what some tests ask for
    if isinstance(problem, SystemExit):
        raise
    show({"refused": {"message": repr(problem)}})
    sys.exit(3)
