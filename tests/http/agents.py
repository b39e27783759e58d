"""agents.py - requests in the shape that coding agents send, written by hand from what is public about them:

Codex: openai/codex, codex-rs/codex-api/src/common.rs (the request), codex-rs/protocol/src/models.rs (items; what of an answer is
sent back), codex-rs/core/src/context (who says what).  Claude Code: Anthropic's reference of /v1/messages, and the issues about its
prompts (claude-code 47107, omlx 2881, llama.cpp 20623).  Only the shape is theirs; the words are ours."""

RULES = "You are an agent. Follow the rules of this project: keep functions short, name what is wrong, test what you claim. " * 40
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False}

CODEX_TOOLS = [
    {"type": "function", "name": "exec_command", "description": "Run a command.", "strict": False, "parameters": TEXT},
    {"type": "function", "name": "update_plan", "description": "Say what is planned.", "strict": False, "parameters": TEXT},
    {"type": "custom", "name": "apply_patch", "description": "Change files.",
     "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}},
    {"type": "web_search", "external_web_access": False},
]
CLAUDE_TOOLS = [{"name": name, "description": "It does that.", "input_schema": TEXT} for name in ("Bash", "Read", "Edit", "Task")]


def said(role, text, kind="input_text"):
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def codex(*items, **fields):
    """One request of Codex.  items: what follows its own beginning of the conversation."""
    beginning = [said("developer", "<permissions instructions>\nThe folder may be written to.\n</permissions instructions>"),
                 said("user", "# AGENTS.md instructions for /src\n\nBe brief."),
                 said("user", "<environment_context>\n  <cwd>/src</cwd>\n  <shell>bash</shell>\n"
                              "  <current_date>2026-11-26</current_date>\n</environment_context>")]
    return {"model": "gpt-5.5-codex", "instructions": RULES, "input": beginning + list(items), "tools": CODEX_TOOLS,
            "tool_choice": "auto", "parallel_tool_calls": True, "reasoning": {"effort": "medium", "summary": "auto"}, "store": False,
            "stream": True, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "0199-codex",
            "text": {"verbosity": "low"}, "client_metadata": {"x-codex-installation-id": "i"}, **fields}


def codex_results(output):
    return [{"type": "function_call_output", "call_id": item["call_id"], "output": "It is done."} for item in output if item["type"] == "function_call"]


def codex_again(output):
    """What Codex sends back of a response: no ids, no status."""
    return [{**{k: v for k, v in item.items() if k not in ("id", "status")},
             **({"encrypted_content": None} if item["type"] == "reasoning" else {})} for item in output]


def claude(*messages, cch="1a2b3", git="(clean)", date="2026-11-26", **fields):
    """One request of Claude Code, which has the state of the repository and the date in its system prompt."""
    system = [f"x-anthropic-billing-header: cc_version=2.1.104.f27; cc_entrypoint=cli; cch={cch};", "You are an agent of the command line.",
              f"{RULES}\n\n<env>\nWorking directory: /src\nIs directory a git repo: Yes\nPlatform: linux\nToday's date: {date}\n</env>\n\n"
              "gitStatus: This is how the repository stood at the beginning.\nCurrent branch: main\n\nMain branch: main\n\n"
              f"Status:\n{git}\n\nRecent commits:\nc2659bf bench: rest\n30f2fd7 tests: order"]
    return {"model": "claude-opus-5-5", "max_tokens": 32000, "stream": True, "system": [
        {"type": "text", "text": text, **({"cache_control": {"type": "ephemeral"}} if i else {})} for i, text in enumerate(system)],
            "messages": list(messages), "tools": CLAUDE_TOOLS, "metadata": {"user_id": "user_x_account__session_y"}, **fields}


def claude_now(*messages, date="2026-11-26", cch="1a2b3", **fields):
    """One of a newer Claude Code: what changes comes as a system message behind the first of the user's."""
    environment = {"role": "system", "content": [{"type": "text", "text": f"# Environment\n - Platform: linux\n\nToday's date is {date}."}]}
    return {**claude(*messages, cch=cch), "system": [
        {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.283.aba; cc_entrypoint=cli; cch={cch};"},
        {"type": "text", "text": RULES, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            "messages": [messages[0], environment, *messages[1:]], "thinking": {"type": "adaptive", "display": "summarized"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, "output_config": {"effort": "high"},
            **fields}


def asks(text):
    return {"role": "user", "content": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]}


def claude_again(content):
    """What Claude Code sends back of a message."""
    return {"role": "assistant", "content": content}
