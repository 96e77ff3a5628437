package template

// Plain writes "User: …", "Assistant: …" in ordinary text, which a vocabulary without chat tokens can learn. A turn of
// the assistant ends with the model's end-of-text token.
var Plain = register("plain", `{% for message in messages %}
{% if message['role'] == 'system' %}
{{- message['content'] + '\n' }}
{%- elif message['role'] == 'user' %}
{{- 'User: ' + message['content'] + '\n' }}
{%- elif message['role'] == 'assistant' %}
{{- 'Assistant: ' + message['content'] + eos_token }}{{ '' if loop.last else '\n' }}
{%- else %}
{{ raise_exception('the plain template has no place for a message of role ' + message['role']) }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{- 'Assistant:' }}
{%- endif %}`)
