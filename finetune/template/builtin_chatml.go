package template

// ChatML is the format of OpenAI's chat markup, which Qwen and many others use. Its marks should be tokens of the
// model.
var ChatML = register("chatml", `{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %}`)
