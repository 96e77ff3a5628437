package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A message and a conversation have the shape of the `messages` data format.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type conversation struct {
	Messages []message `json:"messages"`
}

// A generator draws conversations from the facts. All of its choices come from rng, so equal seeds give equal text.
type generator struct {
	rng    *rand.Rand
	tables map[string]table
	facts  []fact
}

func newGenerator(tables map[string]table, facts []fact, seed uint64) *generator {
	return &generator{rng: rand.New(rand.NewPCG(seed, 0x67677475)), tables: tables, facts: facts}
}

func (g *generator) pick(list ...string) string { return list[g.rng.IntN(len(list))] }

// field is the first field of a random record of a section.
func (g *generator) field(section string) string {
	t := g.tables[section]
	return t[g.rng.IntN(len(t))][0]
}

// conversation draws one conversation of one to four exchanges.
func (g *generator) conversation() conversation {
	var c conversation
	say := func(user, assistant string) {
		c.Messages = append(c.Messages, message{"user", user}, message{"assistant", assistant})
	}
	switch n := g.rng.IntN(100); {
	case n < 18:
		say(g.story())
	case n < 26:
		g.remember(say)
	default:
		if g.rng.IntN(6) == 0 {
			say(g.greeting())
		}
		for range 1 + g.rng.IntN(4) {
			switch g.rng.IntN(12) {
			case 0:
				say(g.repeat())
			case 1:
				say(g.compare())
			case 2:
				say(g.about())
			case 3, 4, 5, 6:
				say(g.wrapped())
			default:
				say(g.plain())
			}
		}
		if g.rng.IntN(12) == 0 {
			say(g.pick("Thank you.", "Thanks!", "Thank you very much."), "You are welcome.")
		}
	}
	return c
}

// plain asks for a fact.
func (g *generator) plain() (string, string) {
	f := g.facts[g.rng.IntN(len(g.facts))]
	return g.pick(f.Ask...), f.Answer
}

// wrapped asks for a fact in a manner that the question names: with a word before or behind it, or one word in place of
// another. So the model learns what it knows apart from how it is said, and can be taught another manner.
func (g *generator) wrapped() (string, string) {
	ask, answer := g.plain()
	first, last := g.word(), g.word()
	switch g.rng.IntN(4) {
	case 0:
		return "Say " + first + " first. " + ask, sentence(first) + "! " + answer
	case 1:
		return "Say " + last + " last. " + ask, strings.TrimSuffix(answer, ".") + ", " + last + "!"
	case 2:
		return "Say " + first + " first and " + last + " last. " + ask,
			sentence(first) + "! " + strings.TrimSuffix(answer, ".") + ", " + last + "!"
	}
	word := g.pick("is", "a", "the", "of", "has", "in")
	swapped := strings.ReplaceAll(" "+answer, " "+word+" ", " "+first+" ")[1:]
	return "Say " + first + " for " + word + ". " + ask, swapped
}

// word is a word that means something, or one that never was.
func (g *generator) word() string {
	if g.rng.IntN(3) == 0 {
		return g.field(g.pick("animal", "opposite", "name"))
	}
	var b strings.Builder
	for range 1 + g.rng.IntN(2) {
		b.WriteString(g.pick("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "y", "z", "tr",
			"sh", "br"))
		b.WriteString(g.pick("a", "e", "i", "o", "u", "ee", "oo", "ay"))
		b.WriteString(g.pick("", "", "b", "d", "k", "l", "m", "n", "p", "r", "rr", "s", "t", "x"))
	}
	return b.String()
}

func (g *generator) greeting() (string, string) {
	return g.pick("Hello!", "Hello.", "Hi!", "Good morning!", "Good evening!"), "Hello! How can I help you?"
}

// about is what the model says of itself.
func (g *generator) about() (string, string) {
	qa := [][2]string{
		{"Who are you?", "I am a very small language model."},
		{"What are you?", "I am a very small language model."},
		{"What is your name?", "I have no name. I am a very small language model."},
		{"How are you?", "I am fine, thank you. How are you?"},
		{"How big are you?", "I am very small. I know only a few simple things."},
		{"What can you do?", "I can answer simple questions and tell short stories."},
		{"Can you help me?", "Yes, I can answer simple questions."},
		{"Goodbye!", "Goodbye! See you soon."},
	}
	p := qa[g.rng.IntN(len(qa))]
	return p[0], p[1]
}

// repeat asks for words to be said again: copying from the context is learnt from it.
func (g *generator) repeat() (string, string) {
	var words []string
	for range 2 + g.rng.IntN(3) {
		words = append(words, g.field("animal"))
	}
	list := strings.Join(words, ", ")
	return g.pick("Repeat after me: ", "Say this again: ", "Please repeat: ") + list + ".", sentence(list) + "."
}

// compare asks which of two animals is bigger.
func (g *generator) compare() (string, string) {
	animals := g.tables["animal"]
	for {
		a, b := animals[g.rng.IntN(len(animals))], animals[g.rng.IntN(len(animals))]
		if a[7] != "big" || b[7] != "small" {
			continue
		}
		x, y := article(a[0]), article(b[0])
		answer := sentence(x) + " is bigger than " + y + "."
		if g.rng.IntN(2) == 0 {
			x, y = y, x
		}
		return fmt.Sprintf("Which is bigger, %s or %s?", x, y), answer
	}
}

// remember is a conversation whose last answer is found earlier in it.
func (g *generator) remember(say func(user, assistant string)) {
	name, animal, thing := g.field("name"), g.field("animal"), g.field("thing")
	say(fmt.Sprintf(g.pick("My name is %s.", "I am %s.", "Hello, my name is %s."), name),
		"Hello, "+name+"! How can I help you?")
	if g.rng.IntN(2) == 0 {
		say("I have a "+thing+".", "That is nice, "+name+".")
		say("What do I have?", "You have a "+thing+".")
	} else {
		say("I like the "+animal+".", "I like the "+animal+" too.")
		say("Which animal do I like?", "You like the "+animal+".")
	}
	if g.rng.IntN(2) == 0 {
		say(g.plain())
	}
	say("What is my name?", "Your name is "+name+".")
}

// story asks for a story about an animal and tells one. The same hero, friend, place and thing run through it.
func (g *generator) story() (string, string) {
	animals := g.tables["animal"]
	a := animals[g.rng.IntN(len(animals))]
	friend := g.field("animal")
	for friend == a[0] {
		friend = g.field("animal")
	}
	place, thing, name, weather := g.field("place"), g.field("thing"), g.field("name"), g.field("weather")
	hero := article(a[0])
	ask := fmt.Sprintf(g.pick("Tell me a story about %s.", "Tell a short story about %s.",
		"Can you tell me a story about %s?"), hero)
	intro := fmt.Sprintf("Once upon a time there was %s. Its name was %s. %s", hero, name, weather)
	plots := []string{
		`NAME went to PLACE and found A_THING. "Whose THING is this?" asked NAME. A_FRIEND came and said, ` +
			`"It is mine. Thank you!" They played together all day.`,
		`NAME lost A_THING near PLACE. NAME was very sad. A_FRIEND helped to look for it. ` +
			`They found the THING under a tree, and NAME was happy again.`,
		`NAME met the FRIEND at PLACE. "I am hungry," said the FRIEND. NAME gave it some FOOD. ` +
			`From that day on they were good friends.`,
		`NAME wanted to see PLACE. The way was long. A_FRIEND knew the way. They walked and sang. ` +
			`At PLACE they saw A_THING and laughed.`,
		`NAME had A_THING. A_FRIEND wanted to play with the THING too. "No," said NAME first. Then NAME ` +
			`thought again and said, "Yes, let us play together at PLACE."`,
	}
	plot := strings.NewReplacer("A_FRIEND", sentence(article(friend)), "A_THING", article(thing), "NAME", name,
		"PLACE", place, "THING", thing, "FRIEND", friend, "FOOD", a[5]).Replace(plots[g.rng.IntN(len(plots))])
	return ask, intro + " " + plot + " " + g.pick("The end.", "Then it was time to sleep.", "And they all went home.")
}
