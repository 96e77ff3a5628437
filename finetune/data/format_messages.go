package data

// Messages is OpenAI's and TRL's conversational format.
var Messages = register(&Format{
	Name:     "messages",
	Fields:   `"messages" [{"role", "content"[, "tool_calls", "weight", …]}][, "tools"]`,
	Priority: 100,
	Match:    func(r *Record) bool { return r.Has("messages") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		msgs, err := parseMessages(r, "messages")
		if err != nil {
			return err
		}
		return addConversation(r, msgs, add)
	},
})
