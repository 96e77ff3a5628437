package template

import (
	"strings"

	"github.com/ggtune/ggtune/internal/jinja"
)

// A seg is a run [start, end) of the text with one origin: a message's own words, or template text (message -1).
type seg struct {
	start, end int
	message    int
	field      int  // of a message's words
	foreign    bool // written by the data, but not words of a message: tool definitions, names
	gen        bool
}

// A region is one trained turn: content [begin, mid), end-of-turn text [mid, end).
type region struct {
	message         int
	begin, mid, end int
	ended           bool // the end-of-turn text holds an end-of-generation token
}

// A masker turns the pieces of one rendering into spans.
type masker struct {
	t    *Template
	conv Conversation
	opts Options
	text string
	segs []seg
	// first and last bound a message's words in the text; first is -1 where none appear.
	first, last []int
	calls       []bool // words of the message's tool calls appear
	// written counts the bytes of each message's fields in the text, white space aside; tools says that the
	// definitions appear.
	written [][fields]int
	tools   bool
}

func (t *Template) spans(conv Conversation, opts Options, pieces []jinja.Piece) (*Rendering, error) {
	m := &masker{t: t, conv: conv, opts: opts}
	m.lay(pieces)
	for i, msg := range conv.Messages {
		if len(msg.ToolCalls) > 0 && !m.calls[i] {
			return nil, t.noCalls(i)
		}
	}
	regions, err := m.regions()
	if err != nil {
		return nil, err
	}
	r := &Rendering{Spans: m.cut(regions), Data: m.data(), Omitted: m.omitted()}
	r.StartsWithBOS = conv.BOS != "" && strings.HasPrefix(m.text, conv.BOS)
	r.EndsTurn = len(regions) > 0 && regions[len(regions)-1].ended
	return r, nil
}

// data lists the bytes that the data wrote.
func (m *masker) data() [][2]int {
	var out [][2]int
	for _, s := range m.segs {
		if s.start < s.end && (s.message >= 0 || s.foreign) {
			out = append(out, [2]int{s.start, s.end})
		}
	}
	return out
}

// lay puts the pieces one after the other.
func (m *masker) lay(pieces []jinja.Piece) {
	n := len(m.conv.Messages)
	m.first, m.last, m.calls, m.written = make([]int, n), make([]int, n), make([]bool, n), make([][fields]int, n)
	for i := range m.first {
		m.first[i] = -1
	}
	var b strings.Builder
	for _, p := range pieces {
		s := seg{start: b.Len(), end: b.Len() + len(p.Text), message: -1, gen: p.Generation}
		b.WriteString(p.Text)
		switch {
		case p.Origin == toolsOrigin:
			s.foreign, m.tools = true, true
		case p.Origin > 0:
			s.message, s.field = (p.Origin-1)/fields, (p.Origin-1)%fields
			s.foreign = s.field == fieldName || s.field == fieldCallID
			m.written[s.message][s.field] += inked(p.Text)
		}
		if s.message >= 0 && !s.foreign {
			if m.first[s.message] < 0 {
				m.first[s.message] = s.start
			}
			m.last[s.message] = s.end
			m.calls[s.message] = m.calls[s.message] || s.field == fieldToolCall
		}
		m.segs = append(m.segs, s)
	}
	m.text = b.String()
	for i, msg := range m.conv.Messages {
		if msg.Role == "assistant" && m.first[i] >= 0 {
			m.last[i] = m.lastWord(i)
		}
	}
}

// lastWord finds where assistant turn i says its last word. Templates repeat words of a turn in later ones (a tool's
// answer names the call it answers): what follows an end-of-generation token is the same turn only where the template
// opens the assistant's turn anew (gpt-oss, whose turns have several parts).
func (m *masker) lastWord(i int) int {
	open := m.opening()
	end := -1
	for _, s := range m.segs {
		if s.message != i || s.foreign {
			if end < 0 {
				continue
			}
			if s.message >= 0 && !s.foreign {
				break // another message's words
			}
			if k, n := firstOf(m.text[s.start:s.end], m.opts.EndOfTurn); k >= 0 && s.message < 0 && !s.foreign {
				if rest := m.text[s.start+k+n : s.end]; open == "" || !strings.Contains(rest, open) {
					break
				}
			}
			continue
		}
		end = s.end
	}
	return end
}

// opening gives the text with which the template opens an assistant's turn, or "".
func (m *masker) opening() string { return m.t.prompt(m.opts).opening(m.opts.EndOfTurn) }

// trained says whether message i is trained on under the mask, MaskAll aside.
func (m *masker) trained(i int) bool {
	msg := m.conv.Messages[i]
	switch {
	case m.opts.Mask == MaskLast:
		for _, later := range m.conv.Messages[i+1:] {
			if later.Role == "assistant" {
				return false
			}
		}
		return msg.Role == "assistant" && (msg.Train == nil || *msg.Train)
	case msg.Train != nil:
		return *msg.Train
	}
	return msg.Role == "assistant"
}

// regions finds the trained turns, in the order of the text.
func (m *masker) regions() ([]region, error) {
	var rs []region
	for i, msg := range m.conv.Messages {
		if !m.trained(i) {
			continue
		}
		if err := m.present(i, msg); err != nil {
			return nil, err
		}
		if r, ok := m.turn(i); ok {
			rs = append(rs, r)
		}
	}
	return rs, m.disjoint(rs)
}

// turn finds where the turn of message i stands; ok is false where nothing of it is written.
func (m *masker) turn(i int) (r region, ok bool) {
	assistant := m.conv.Messages[i].Role == "assistant"
	if m.t.MarksGeneration() && assistant {
		return m.generated(i)
	}
	if m.first[i] < 0 {
		return region{}, false
	}
	r = region{message: i, begin: m.first[i]}
	if assistant {
		r.begin = m.beginning(i)
	}
	m.ending(&r)
	return r, true
}

// whole gives all of the text, nothing of which is trained on.
func (m *masker) whole() *Rendering {
	r := &Rendering{Data: m.data(), StartsWithBOS: m.conv.BOS != "" && strings.HasPrefix(m.text, m.conv.BOS)}
	if m.text != "" {
		r.Spans = []Span{{Text: m.text, Message: -1, Kind: Header}}
	}
	return r
}

// present refuses a template that leaves out what a trained message says.
func (m *masker) present(i int, msg Message) error {
	said := strings.TrimSpace(msg.Content) != "" || len(msg.ToolCalls) > 0
	if said && m.first[i] < 0 {
		return m.t.errorf(i, "chat template %s writes nothing of this %s message, so it cannot be trained on; "+
			"leave it out, or name another template with --template", m.t.name, msg.Role)
	}
	return nil
}

// gapBefore gives the start of the template text that ends at pos, gapAfter the end of that which begins there.
func (m *masker) gapBefore(pos int) int {
	for k := len(m.segs) - 1; k >= 0; k-- {
		if s := m.segs[k]; s.start < pos && (s.message >= 0 || s.foreign) {
			return min(s.end, pos)
		}
	}
	return 0
}

func (m *masker) gapAfter(pos int) int {
	for _, s := range m.segs {
		if s.end > pos && (s.message >= 0 || s.foreign) {
			return max(s.start, pos)
		}
	}
	return len(m.text)
}

// beginning finds where the assistant's turn i begins: after the text with which the template opens such a turn, in the
// template text before the turn's first word. What stands between (<think>, the frame of a tool call) the model has to
// write itself, so it is trained. Where the opening does not stand there, the turn begins with its first word.
func (m *masker) beginning(i int) int {
	first := m.first[i]
	from := m.gapBefore(first)
	gap := m.text[from:first]
	open := m.opening()
	for open != "" {
		if k := strings.LastIndex(gap, open); k >= 0 {
			return from + k + len(open)
		}
		open = shorter(open)
	}
	return first
}

// shorter takes the last mark off an opening: a template may open a turn that it prompts for with more ("<think>") than
// one that it was given. Only whole marks are taken off; "" where there is none.
func shorter(open string) string {
	if t := strings.TrimRight(open, "\n "); t != open {
		return t
	}
	k := strings.LastIndexAny(open, "<[")
	if k < 0 || !strings.HasSuffix(open, ">") && !strings.HasSuffix(open, "]") {
		return ""
	}
	return open[:k]
}

// ending finds the end-of-turn text of a region whose begin is set. Where the template writes no end-of-generation
// token after the turn, it is the text that the template writes after a last turn, if it is written here too.
func (m *masker) ending(r *region) {
	from := m.last[r.message]
	gap := m.text[from:m.gapAfter(from)]
	if k, n := firstOf(gap, m.opts.EndOfTurn); k >= 0 {
		r.mid, r.end, r.ended = from+k, from+k+n, true
		return
	}
	r.mid, r.end = from, from
	lastMsg := len(m.conv.Messages) - 1
	if m.conv.Messages[lastMsg].Role != m.conv.Messages[r.message].Role || m.first[lastMsg] < 0 {
		return
	}
	if tail := m.text[m.last[lastMsg]:]; strings.HasPrefix(gap, tail) {
		r.end = from + len(tail)
	}
}

// generated finds the region of assistant turn i that the template's generation blocks mark: the marked stretch that
// holds the turn's words, and an end-of-generation token right after it.
func (m *masker) generated(i int) (region, bool) {
	begin, end, holds := -1, -1, false
	for _, s := range m.segs {
		if !s.gen || end >= 0 && s.start > end {
			if holds {
				break
			}
			begin, end = -1, -1
			if !s.gen {
				continue
			}
		}
		if begin < 0 {
			begin = s.start
		}
		end = s.end
		holds = holds || s.message == i && !s.foreign
	}
	if !holds {
		return region{}, false
	}
	r := region{message: i, begin: begin, mid: end, end: end}
	for _, eot := range m.opts.EndOfTurn {
		switch {
		case eot == "":
		case strings.HasPrefix(m.text[end:], eot) && len(eot) > r.end-r.mid:
			r.end, r.ended = end+len(eot), true
		}
	}
	if r.ended {
		return r, true
	}
	// The blocks may hold the end-of-turn token themselves.
	if after := max(m.last[i], begin); after < end {
		if k, n := firstOf(m.text[after:end], m.opts.EndOfTurn); k >= 0 {
			r.mid, r.end, r.ended = after+k, after+k+n, true
		}
	}
	return r, true
}

// disjoint refuses trained turns that hold words of another message, or whose own words go on elsewhere: their border
// would be a guess. Words that are only repeated later are no such words.
func (m *masker) disjoint(rs []region) error {
	for k, r := range rs {
		turn := m.text[r.begin:r.end]
		for _, s := range m.segs {
			if s.message == r.message && !s.foreign && s.start >= r.end &&
				!strings.Contains(turn, strings.TrimSpace(m.text[s.start:s.end])) {
				return m.t.errorf(r.message,
					"chat template %s writes this message in parts, with others between them, so it is not certain "+
						"what to train on; name another template with --template", m.t.name)
			}
			if s.message >= 0 && s.message != r.message && !s.foreign && s.start < r.end && s.end > r.begin {
				return m.t.errorf(r.message,
					"chat template %s writes message %d in the middle of this one, so it is not certain "+
						"what to train on; name another template with --template", m.t.name, s.message+1)
			}
		}
		if k > 0 && r.begin < rs[k-1].end {
			return m.t.errorf(r.message,
				"chat template %s writes this message before or within message %d, so it is not certain "+
					"what to train on; name another template with --template", m.t.name, rs[k-1].message+1)
		}
	}
	return nil
}

// cut cuts the text into spans at the borders of regions and messages.
func (m *masker) cut(rs []region) []Span {
	var out []Span
	add := func(start, end int, s Span) {
		if start >= end {
			return
		}
		s.Train = s.Train || m.opts.Mask == MaskAll
		s.Text = m.text[start:end]
		if n := len(out); n > 0 && out[n-1].Train == s.Train && out[n-1].Message == s.Message &&
			out[n-1].Kind == s.Kind {
			out[n-1].Text += s.Text
			return
		}
		out = append(out, s)
	}
	// plain lays out [from, to), which holds no region, before the turn of message next.
	plain := func(from, to, next int) {
		for k, s := range m.segs {
			lo, hi := max(s.start, from), min(s.end, to)
			if lo >= hi {
				continue
			}
			if s.message >= 0 && !s.foreign {
				add(lo, hi, Span{Message: s.message, Kind: Content})
				continue
			}
			owner := next
			for _, later := range m.segs[k+1:] {
				if later.start >= to {
					break
				}
				if later.message >= 0 && !later.foreign {
					owner = later.message
					break
				}
			}
			add(lo, hi, Span{Message: owner, Kind: Header})
		}
	}
	pos := 0
	for _, r := range rs {
		plain(pos, r.begin, r.message)
		add(r.begin, r.mid, Span{Message: r.message, Kind: Content, Train: true})
		add(r.mid, r.end, Span{Message: r.message, Kind: End, Train: true})
		pos = r.end
	}
	plain(pos, len(m.text), -1)
	return out
}
