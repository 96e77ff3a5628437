package data

import "strings"

// HH is the format of Anthropic's helpful and harmless transcripts (Bai et al. 2022): "\n\nHuman: …\n\nAssistant: …",
// the choice in the last turn. They become messages. Where the prompt has a field of its own it ends with
// "\n\nAssistant:".
var HH = register(&Format{
	Name:       "hh",
	Fields:     `"chosen", "rejected": transcripts "\n\nHuman: …\n\nAssistant: …"; or the transcript in "prompt"`,
	Priority:   80,
	Preference: true,
	Match: func(r *Record) bool {
		if !r.Has("chosen", "rejected") {
			return false
		}
		begin := "chosen"
		if r.Has("prompt") {
			begin = "prompt"
		}
		v, _ := r.Get(begin)
		s, ok := asText(v)
		return ok && beginsTranscript(s)
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		text := map[string]string{}
		for _, name := range []string{"prompt", "chosen", "rejected"} {
			s, err := r.Text(name)
			if err != nil {
				return err
			}
			text[name] = s
			whole := name == "prompt" || !r.Has("prompt")
			if whole && strings.TrimSpace(s) != "" && !beginsTranscript(s) {
				return r.errorf(
					"field %q is no transcript, as others of this data are; expected it to begin with \"Human:\"", name)
			}
		}
		if r.Has("prompt") {
			turns := transcript(text["prompt"])
			if n := len(turns); n > 0 && turns[n-1].Role == Assistant && turns[n-1].Content == "" {
				turns = turns[:n-1]
			}
			answer := func(s string) side {
				return side{chat: true, turns: []Message{{Role: Assistant, Content: strings.TrimSpace(s)}}}
			}
			return addChoice(r, o, side{chat: true, turns: turns}, answer(text["chosen"]), answer(text["rejected"]),
				add)
		}
		prompt, chosen,
			rejected := common(side{chat: true, turns: transcript(text["chosen"])},
			side{chat: true, turns: transcript(text["rejected"])})
		return addChoice(r, o, prompt, chosen, rejected, add)
	},
})

var speakers = []struct {
	mark string
	role Role
}{{"\n\nHuman:", User}, {"\n\nAssistant:", Assistant}}

func beginsTranscript(s string) bool {
	s = "\n\n" + strings.TrimSpace(s)
	return strings.HasPrefix(s, speakers[0].mark) || strings.HasPrefix(s, speakers[1].mark)
}

// transcript cuts a transcript into turns. Where one speaker's mark follows his own turn, the turn goes on.
func transcript(s string) []Message {
	s = "\n\n" + strings.TrimSpace(s)
	var out []Message
	for s != "" {
		var role Role
		for _, sp := range speakers {
			if rest, ok := strings.CutPrefix(s, sp.mark); ok {
				role, s = sp.role, rest
				break
			}
		}
		end := len(s)
		for _, sp := range speakers {
			if i := strings.Index(s, sp.mark); i >= 0 {
				end = min(end, i)
			}
		}
		said := strings.TrimSpace(s[:end])
		s = s[end:]
		if n := len(out); n > 0 && out[n-1].Role == role {
			out[n-1].Content = strings.TrimSpace(out[n-1].Content + "\n\n" + said)
			continue
		}
		if role != "" {
			out = append(out, Message{Role: role, Content: said})
		}
	}
	return out
}
