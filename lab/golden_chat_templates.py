"""Golden renderings of chat templates by transformers, for lib/prompts/chat-template.ts.

The templates are our own, written in the manner of the families that they are named after: each uses the Jinja that
its family's published template depends on (default system text, refusals, date, macros, loop filters, namespaces).

    python lab/golden_chat_templates.py [test/fixtures/prompts/chat-templates.json]
"""

from __future__ import annotations

import datetime as datetime_module
import json
import sys
from pathlib import Path

from transformers.utils import chat_template_utils

DATE = "2024-07-26"

LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}

{#- A leading system message joins the header block. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set preamble = messages[0]['content']|trim %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set preamble = "" %}
    {%- set turns = messages %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Tools: " + (tools | tojson) + "\\n" }}
{%- endif %}
{{- "Knowledge until: December 2023\\nToday: " + date_string + "\\n\\n" }}
{{- preamble + "<|eot_id|>" }}
{%- for turn in turns %}
    {%- if turn.role not in ['user', 'assistant'] %}
        {{- raise_exception("Only user and assistant turns may follow, not " + turn.role) }}
    {%- endif %}
    {{- '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n' + turn['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
    {%- set preamble = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{%- set users = turns | selectattr("role", "equalto", "user") | list %}
{%- set state = namespace(index=0) %}
{%- for turn in turns %}
    {%- if (turn["role"] == "user") != (state.index % 2 == 0) %}
        {{- raise_exception("User and assistant must take turns, beginning with the user") }}
    {%- endif %}
    {%- set state.index = state.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for turn in turns %}
    {%- if turn["role"] == "user" %}
        {%- if loop.last and preamble is defined %}
            {{- "[INST] " + preamble + "\\n\\n" + turn["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + turn["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif turn["role"] == "assistant" %}
        {{- " " + turn["content"] | trim + eos_token }}
    {%- else %}
        {{- raise_exception("Unknown role " ~ turn["role"]) }}
    {%- endif %}
{%- endfor %}
"""

QWEN25 = """\
{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou answer for the house of Example.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for call in message.tool_calls %}
            {{- '\\n' ~ (call | tojson) }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('A system role is not supported') }}"
    "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must go user, assistant, user, assistant, ...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
    "{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"
)

GEMMA3 = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set lead = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set lead = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set lead = "" -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
    {{ '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) + '\\n' + (lead if loop.first else '') }}
    {%- if turn['content'] is string -%}
        {{ turn['content'] | trim }}
    {%- elif turn['content'] is iterable -%}
        {%- for part in turn['content'] -%}
            {{ part['text'] | trim }}
        {%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""

PHI3 = """\
{% for message in messages %}
{% if message['role'] == 'system' and message['content'] %}
{{ '<|system|>\\n' + message['content'] + '<|end|>\\n' }}
{% elif message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + '<|end|>\\n' }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n' + message['content'] + '<|end|>\\n' }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\\n' }}
{% else %}
{{ eos_token }}
{% endif %}
"""

PHI4 = (
    "{% for message in messages %}{% if message['role'] in ['system', 'user', 'assistant'] %}"
    "{{ '<|im_start|>' ~ message['role'] ~ '<|im_sep|>' ~ message['content'] ~ '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)

CHATML = """\
{% for message in messages %}
    {%- set end = '<|im_end|>' %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ end ~ '\\n' -}}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """\
{%- set state = namespace(last_query=messages|length - 1, found=false) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if not state.found and message.role == "user" and not (message.content.startswith('<reply>') and message.content.endswith('</reply>')) %}
        {%- set state.found = true %}
        {%- set state.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {%- set answer = message.content %}
        {%- if '</think>' in answer %}
            {%- set answer = answer.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' + answer.strip() + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

MACROS = """\
{%- macro turn(role, text, end='</s>') -%}
<{{ role|upper }}>
{{ text }}{{ end }}
{% endmacro -%}
{%- for message in messages if message.role != 'system' %}
{{- turn(message.role, message.content | replace('\\t', ' ')) }}
{%- generation %}{% if message.role == 'assistant' %}!{% endif %}{% endgeneration %}
{%- if loop.index > 40 %}{% break %}{% endif %}
{%- endfor %}
{{- strftime_now('%Y-%m-%d %B %A %j') }}
{%- if add_generation_prompt %}<ASSISTANT>{{ '\\n' }}{% endif %}
"""

TEMPLATES = {
    "llama-3": (LLAMA3, "<|begin_of_text|>", "<|eot_id|>"),
    "mistral": (MISTRAL, "<s>", "</s>"),
    "qwen-2.5": (QWEN25, None, "<|im_end|>"),
    "qwen-3": (QWEN3, None, "<|im_end|>"),
    "gemma-2": (GEMMA2, "<bos>", "<eos>"),
    "gemma-3": (GEMMA3, "<bos>", "<eos>"),
    "phi-3": (PHI3, "<s>", "<|endoftext|>"),
    "phi-4": (PHI4, "<|endoftext|>", "<|im_end|>"),
    "chatml": (CHATML, None, None),
    "macros": (MACROS, "<s>", "</s>"),
}

SYSTEM = {"role": "system", "content": "Answer like a lighthouse keeper: short, calm, certain of the weather."}
FIRST = {"role": "user", "content": "  How do I keep bread from going stale in a damp kitchen?\n"}
REPLY = {"role": "assistant", "content": "<think>damp</think>\nA cloth bag, then the oven for five minutes. "}
SECOND = {"role": "user", "content": "Même chose pour 面包 🍞 {{ not jinja }} {% nor this %} 'quoted' \"twice\" <&>?"}
ACKNOWLEDGED = {"role": "assistant", "content": "Understood. I will follow these instructions."}

CONVERSATIONS = {
    "user": [FIRST],
    "system, user": [SYSTEM, FIRST],
    "user, assistant, user": [FIRST, REPLY, SECOND],
    "system, user, assistant, user": [SYSTEM, FIRST, REPLY, SECOND],
    "system as user turn": [{**SYSTEM, "role": "user"}, ACKNOWLEDGED, FIRST],
    "user twice": [FIRST, SECOND],
    "user, assistant": [FIRST, REPLY],
}


# Templates that are saved with other line ends: whole ones, and every place where an end may stand.
LINE_ENDS = {"CRLF": "\r\n", "CR": "\r"}
REWRITTEN = ("llama-3", "qwen-2.5", "phi-3", "chatml", "macros")
SNIPPETS = (
    "a\r\nb",
    "a\rb",
    "a\n\rb",
    "a\r\r\nb",
    "last\r\n",
    "last\r",
    "last\r\n\r\n",
    "{{ 'in a\r\nstring' }}",
    "{{ 'an escape \\r\\n stays' }}",
    "{% if true %}\r\n  b\r\n  {% endif %}\r\nc\r\n",
    "{% if true %}\r  b\r  {% endif %}\rc\r",
    "x\r\n{#- a\r\ncomment -#}\r\n y",
    "x\r\n{# a\r\ncomment #}\r\ny",
    "x\r\n{%- if true -%}\r\n\r\n  y\r\n{%- endif -%}\r\nz",
    "{{ messages[0].content }}",
    "{{ messages[0].content | trim }}|{{ messages[0].content.split('\\n') | length }}",
    "{{ 'p\r\nq' == 'p\\nq' }}".replace("{{", "{% if").replace("}}", "%}equal{% endif %}"),
    "a\x0bb\x0cc\u2028d\u2029e",
)
LINES = {"role": "user", "content": "\r\none\r\ntwo\rthree\n"}


class PinnedDatetime(datetime_module.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(DATE)


def render(source: str, bos: str | None, eos: str | None, messages: list[dict], add_generation_prompt: bool) -> dict:
    special = {name: text for name, text in (("bos_token", bos), ("eos_token", eos)) if text is not None}
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            [messages], chat_template=source, add_generation_prompt=add_generation_prompt, **special
        )
    except chat_template_utils.jinja2.exceptions.TemplateError as error:
        return {"refused": str(error)}
    return {"text": rendered[0]}


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "test/fixtures/prompts/chat-templates.json")
    chat_template_utils.datetime = PinnedDatetime
    golden = {
        "date": DATE,
        "conversations": CONVERSATIONS,
        "templates": {
            name: {
                "source": source,
                "bosToken": bos,
                "eosToken": eos,
                "cases": [
                    {
                        "conversation": title,
                        "addGenerationPrompt": add_generation_prompt,
                        **render(source, bos, eos, messages, add_generation_prompt),
                    }
                    for title, messages in CONVERSATIONS.items()
                    for add_generation_prompt in (True, False)
                ],
            }
            for name, (source, bos, eos) in TEMPLATES.items()
        },
        "lineEnds": {
            "templates": [
                {
                    "template": name,
                    "ends": ends,
                    **render(TEMPLATES[name][0].replace("\n", end), *TEMPLATES[name][1:], [SYSTEM, FIRST], True),
                }
                for name in REWRITTEN
                for ends, end in LINE_ENDS.items()
            ],
            "message": LINES,
            "snippets": [
                {"source": source, **render(source, None, None, [LINES], False)} for source in SNIPPETS
            ],
        },
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
