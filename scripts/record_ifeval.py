#!/usr/bin/env python3
"""Records which answers follow IFEval's instructions, by the checks that lm-evaluation-harness has of it.

    python3 -m venv venv && venv/bin/pip install nltk langdetect immutabledict packaging && venv/bin/pip install --no-deps lm_eval
    venv/bin/python scripts/record_ifeval.py

writes finetune/reward/testdata/ifeval.json, which is committed and read by a Go test. It is run again only when a case is added;
nobody needs Python to build or test.

What runs is the harness's own code, but for what it would fetch: sentences are parted by NLTK's Punkt without its trained
abbreviations, and every text counts as English.
"""
import importlib.util
import itertools
import json
import pathlib
import sys
import types

import langdetect
import nltk

nltk.data.find = lambda *args, **kwargs: None  # the harness would fetch it
langdetect.detect = lambda text: "en"

# The packages around the checks would import all of the harness.
ROOT = pathlib.Path(importlib.util.find_spec("lm_eval").origin).parent
for name, path in {"lm_eval": ROOT, "lm_eval.tasks": ROOT / "tasks"}.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(path)]

from lm_eval.tasks.ifeval import instructions_registry, instructions_util  # noqa: E402

instructions_util._get_sentence_tokenizer = nltk.tokenize.PunktSentenceTokenizer
# Its word_tokenize parts sentences first, with the trained model.
nltk.word_tokenize = instructions_util.nltk.word_tokenize = nltk.tokenize.TreebankWordTokenizer().tokenize

ANSWERS = [
    "",
    "My answer is yes.",
    '"The quick brown fox, who is quick, jumps over the lazy dog. Is it so?"',
    "THE END OF ALL THINGS",
    "all is lower case here, or is it",
    "<<A title>>\nFirst paragraph.\n***\nSecond one!\n***\nA third?",
    "<<>> and <<  >>\n* one\n* two\n- three\n  * four\n** no",
    "***\na\n***\n\n***\nb",
    "Section 1\nsome text\nSection 2\nmore\n\nP.S. I forgot. P. P. S. more",
    "p.p.s. Nothing [name] and [address] [] and [a\nb]",
    '```json\n{"a": [1, 2.5, null]}\n```',
    '{"a": 1',
    "one response\n******\nanother response",
    "same ******same",
    "******\none ****** two ******",
    "'Hello' there.\n\nWorld, is *bold* and **strong** and ** ** or *\n\nquick End",
    "Write a story. Once upon a time the FOX and the DOG met. NATO I A-B came. Quickly quicker quick.",
    "Is this the end? Any questions",
    'He said: "so be it. any questions" ',
    "ααβ ΑΒΓ été ÉTÉ über",
]


def grid(**kwargs):
    """Every combination of the values."""
    return [dict(zip(kwargs, values)) for values in itertools.product(*kwargs.values())]


RELATIONS = ["less than", "at least"]
CASES = {
    "keywords:existence": grid(keywords=[["quick"], ["FOX", "dog"], ["é"]]),
    "keywords:frequency": grid(keyword=["quick", "the"], frequency=[1, 2, 3], relation=RELATIONS),
    "keywords:forbidden_words": grid(forbidden_words=[["quick"], ["fox", "any questions"], ["end"], ["été"]]),
    "keywords:letter_frequency": grid(letter=["e", "z"], let_frequency=[1, 4], let_relation=RELATIONS),
    "length_constraints:number_sentences": grid(num_sentences=[1, 2, 3], relation=RELATIONS),
    "length_constraints:number_paragraphs": grid(num_paragraphs=[1, 2, 3]),
    "length_constraints:number_words": grid(num_words=[1, 4, 8, 15], relation=RELATIONS),
    "length_constraints:nth_paragraph_first_word": grid(num_paragraphs=[1, 2, 3], nth_paragraph=[1, 2], first_word=["hello", "world", "write"]),
    "detectable_content:number_placeholders": grid(num_placeholders=[1, 3, 4]),
    "detectable_content:postscript": grid(postscript_marker=["P.S.", "P.P.S", "Any"]),
    "detectable_format:number_bullet_lists": grid(num_bullets=[1, 3, 4, 5]),
    "detectable_format:constrained_response": [{}],
    "detectable_format:number_highlighted_sections": grid(num_highlights=[1, 2, 3, 4]),
    "detectable_format:multiple_sections": grid(section_spliter=["Section"], num_sections=[1, 2, 3]),
    "detectable_format:json_format": [{}],
    "detectable_format:title": [{}],
    "combination:two_responses": [{}],
    "combination:repeat_prompt": grid(prompt_to_repeat=["write a STORY.", "Is"]),
    "startend:end_checker": grid(end_phrase=["Any questions", "things"]),
    "startend:quotation": [{}],
    "change_case:capital_word_frequency": grid(capital_frequency=[1, 2, 4, 5], capital_relation=RELATIONS),
    "change_case:english_capital": [{}],
    "change_case:english_lowercase": [{}],
    "punctuation:no_comma": [{}],
}


def main():
    out = []
    for name, all_kwargs in CASES.items():
        for kwargs in all_kwargs:
            check = instructions_registry.INSTRUCTION_DICT[name](name)
            check.build_description(**kwargs)
            followed = "".join("1" if check.check_following(answer) else "0" for answer in ANSWERS)
            out.append({"id": name, "kwargs": kwargs, "followed": followed})
    missing = set(instructions_registry.INSTRUCTION_DICT) - set(CASES)
    assert missing == {"language:response_language"}, missing
    path = pathlib.Path(__file__).parent.parent / "finetune/reward/testdata/ifeval.json"
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join("    " + json.dumps(case, ensure_ascii=False) for case in out)
    answers = ",\n".join("    " + json.dumps(answer, ensure_ascii=False) for answer in ANSWERS)
    path.write_text('{\n  "answers": [\n' + answers + '\n  ],\n  "cases": [\n' + lines + "\n  ]\n}\n")


main()
