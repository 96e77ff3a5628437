#!/usr/bin/env python3
"""Records what transformers' Jinja makes of published chat templates, for internal/jinja's tests.

usage: pip install jinja2==3.1.6; scripts/record_templates.py TEMPLATES_DIR

Renders every *.jinja of TEMPLATES_DIR with every conversation of internal/jinja/testdata/conversations.json in an
environment configured as transformers' chat_template_utils.py does, with and without the generation prompt, and writes
length (in bytes) and SHA-256 of each text to published.json beside it, and the texts of the snippets in snippets.json to
rendered.json: the templates themselves are other people's and stay out of this repository. A rendering that fails is
recorded as "error", one that only the sandbox for immutable values refuses (list.append, dict.pop) is recorded without it.
"""

import hashlib
import json
import pathlib
import sys
from contextlib import contextmanager
from datetime import datetime

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

NOW = datetime(2025, 3, 4, 5, 6, 7)


class Generation(jinja2.ext.Extension):
    """The {% generation %} tag, rendered as its body."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(lineno)

    def _body(self, caller):
        return caller()


def environment(cls):
    env = cls(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: NOW.strftime(format)
    return env


def render(source, conversation, prompt):
    for cls in (ImmutableSandboxedEnvironment, SandboxedEnvironment):
        try:
            return environment(cls).from_string(source).render(
                messages=json.loads(json.dumps(conversation["messages"])), tools=conversation.get("tools"), documents=None,
                add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>")
        except jinja2.exceptions.SecurityError:
            continue
        except Exception as error:
            return error
    return Exception("refused by the sandbox")


SNIPPET_VARS = {
    "d": {"a": "A", "b": 2},
    "l": [1, "two", 3.5, None],
    "s": "größe",
    "items": [{"n": 1, "ok": True}, {"n": 2, "ok": False}, {"n": 3, "ok": True}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4}]}]}, {"v": 5}],
}


def record_snippets(here):
    out = {"vars": SNIPPET_VARS, "texts": []}
    for source in json.loads((here / "snippets.json").read_text("utf-8")):
        try:
            text = environment(SandboxedEnvironment).from_string(source).render(**json.loads(json.dumps(SNIPPET_VARS)))
        except Exception as error:
            print(repr(source), type(error).__name__, error, file=sys.stderr)
            text = None
        out["texts"].append(text)
    (here / "rendered.json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main():
    here = pathlib.Path(__file__).resolve().parent.parent / "internal" / "jinja" / "testdata"
    record_snippets(here)
    conversations = json.loads((here / "conversations.json").read_text("utf-8"))
    out = {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
        rows = out.setdefault(path.stem, {})
        for conversation in conversations:
            for prompt in (False, True):
                text = render(path.read_text("utf-8"), conversation, prompt)
                key = conversation["name"] + ("+prompt" if prompt else "")
                if isinstance(text, Exception):
                    rows[key] = "error"
                    print(path.stem, key, type(text).__name__, text, file=sys.stderr)
                else:
                    data = text.encode()
                    rows[key] = f"{len(data)} {hashlib.sha256(data).hexdigest()[:32]}"
                    if len(sys.argv) > 2:
                        (pathlib.Path(sys.argv[2]) / f"{path.stem}@{key}.txt").write_bytes(data)
    (here / "published.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
