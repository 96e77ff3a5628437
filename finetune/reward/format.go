package reward

import (
	"fmt"
	"regexp"
	"strings"
)

// Format looks for a block of reasoning with an answer behind it, as TRL's think_format_reward does; like it, it says
// nothing of what stands there.
var Format = register(&Kind{
	Name: "format",
	Arg:  "TAG[,TAG]",
	Usage: "1 where the answer is one block of reasoning, <think>…</think> or the first TAG's, and then a text, " +
		"or with two TAGs a block of the second, else 0; a block that the prompt has opened needs no beginning",
	Check: true,
	Open: func(arg string, _ *Options) (Reward, error) {
		if arg == "" {
			arg = "think"
		}
		names := strings.Split(arg, ",")
		for _, name := range names {
			if !tagName.MatchString(name) || len(names) > 2 || len(names) == 2 && names[0] == names[1] {
				return nil, fmt.Errorf("%q is no name of one block, or of two, such as think or think,answer", arg)
			}
		}
		f := format{reasoning: newTag(names[0])}
		if len(names) == 2 {
			f.answer = newTag(names[1])
		}
		return each(func(s *Sample) (float64, error) { return truth(f.holds(s)), nil }), nil
	},
})

var tagName = regexp.MustCompile(`^[\pL_][\pL\pN_-]*$`)

type tag struct{ open, close string }

func newTag(name string) tag { return tag{"<" + name + ">", "</" + name + ">"} }

// once cuts a text at a block's borders; ok is false unless each is there once.
func (t tag) once(text string) (before, inside, after string, ok bool) {
	before, rest, ok := strings.Cut(text, t.open)
	inside, after, closed := strings.Cut(rest, t.close)
	for _, part := range []string{before, inside, after} {
		ok = ok && !strings.Contains(part, t.open) && !strings.Contains(part, t.close)
	}
	return before, inside, after, ok && closed
}

type format struct{ reasoning, answer tag } // answer: the zero tag where a text is enough

func (f format) holds(s *Sample) bool {
	text := s.Answer
	if strings.HasSuffix(strings.TrimSpace(s.Prompt), f.reasoning.open) {
		text = f.reasoning.open + text
	}
	before, inside, after, ok := f.reasoning.once(text)
	if !ok || strings.TrimSpace(before) != "" || strings.TrimSpace(inside) == "" {
		return false
	}
	if f.answer != (tag{}) {
		before, inside, behind, ok := f.answer.once(after)
		return ok && strings.TrimSpace(before+behind) == "" && strings.TrimSpace(inside) != ""
	}
	return strings.TrimSpace(after) != ""
}
