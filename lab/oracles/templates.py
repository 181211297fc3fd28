"""Chat templates in the manner of each family, written for these models."""

from __future__ import annotations

LLAMA3 = (
    "{{- bos_token -}}\n"
    "{%- for message in messages -%}\n"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' -}}\n"
    "{{- message['content'] | trim + '<|eot_id|>' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}\n"
    "{%- endif -%}"
)

# System text goes in front of the first user turn, as instruct models without a system role expect.
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' -%}\n"
    "{%- set lead = messages[0]['content'] + '\\n\\n' -%}{%- set turns = messages[1:] -%}\n"
    "{%- else -%}{%- set lead = '' -%}{%- set turns = messages -%}{%- endif -%}\n"
    "{{- bos_token -}}\n"
    "{%- for message in turns -%}\n"
    "{%- if message['role'] == 'user' -%}\n"
    "{{- '[INST] ' + (lead if loop.first else '') + message['content'] + '[/INST]' -}}\n"
    "{%- elif message['role'] == 'assistant' -%}\n"
    "{{- ' ' + message['content'] + eos_token -}}\n"
    "{%- else -%}{{- raise_exception('expected user and assistant turns after the system text') -}}{%- endif -%}\n"
    "{%- endfor -%}"
)

CHATML = (
    "{%- for message in messages -%}\n"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

# Qwen 2 puts a default system turn in front when the conversation has none.
QWEN2 = (
    "{%- if messages[0]['role'] != 'system' -%}\n"
    "{{- '<|im_start|>system\\nYou answer briefly.<|im_end|>\\n' -}}\n"
    "{%- endif -%}\n" + CHATML
)

GEMMA2 = (
    "{{- bos_token -}}\n"
    "{%- if messages[0]['role'] == 'system' -%}{{- raise_exception('no system role') -}}{%- endif -%}\n"
    "{%- for message in messages -%}\n"
    "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}\n"
    "{{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"
)

GEMMA3 = (
    "{{- bos_token -}}\n"
    "{%- if messages[0]['role'] == 'system' -%}\n"
    "{%- set lead = messages[0]['content'] + '\\n\\n' -%}{%- set turns = messages[1:] -%}\n"
    "{%- else -%}{%- set lead = '' -%}{%- set turns = messages -%}{%- endif -%}\n"
    "{%- for message in turns -%}\n"
    "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}\n"
    "{{- '<start_of_turn>' + role + '\\n' + (lead if loop.first else '') + message['content'] | trim -}}\n"
    "{{- '<end_of_turn>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"
)

PHI3 = (
    "{%- for message in messages -%}\n"
    "{{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- else -%}{{- eos_token -}}{%- endif -%}"
)

PHI4 = (
    "{%- for message in messages -%}\n"
    "{{- '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant<|im_sep|>' -}}{%- endif -%}"
)

PHI4_MINI = (
    "{%- for message in messages -%}\n"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- else -%}{{- eos_token -}}{%- endif -%}"
)
