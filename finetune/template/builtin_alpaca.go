package template

// Alpaca is the wording of Stanford Alpaca (Taori et al. 2023), with a turn's instruction and input as one message. A
// turn ends with the model's end-of-text token.
var Alpaca = register("alpaca", `{% if messages[0]['role'] == 'system' %}
{{- messages[0]['content'] + '\n\n' }}
{%- else %}
{{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n' }}
{%- endif %}
{% for message in messages %}
{% if message['role'] == 'user' %}
{{- '### Instruction:\n' + message['content'] + '\n\n### Response:\n' }}
{%- elif message['role'] == 'assistant' %}
{{- message['content'] + eos_token }}{{ '' if loop.last else '\n\n' }}
{%- elif not loop.first %}
{{ raise_exception('the alpaca template has no place for a message of role ' + message['role']) }}
{% endif %}
{% endfor %}`)
