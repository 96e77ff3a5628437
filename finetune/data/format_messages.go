package data

// Messages is OpenAI's and TRL's conversational format.
var Messages = register(&Format{
	Name:     "messages",
	Fields:   `"messages" [{"role", "content"[, "tool_calls", "weight", …]}][, "tools"]`,
	Priority: 100,
	Match:    func(r *Record) bool { return r.Has("messages") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		v, _ := r.Get("messages")
		msgs, err := parseMessages(r, "messages", v)
		if err != nil {
			return err
		}
		tools, err := parseTools(r, "tools")
		if err != nil {
			return err
		}
		add(Example{Source: r.Source, Kind: KindMessages, Messages: msgs, Tools: tools})
		return nil
	},
})
