package data

// ShareGPT is the format of the ShareGPT collections and of FastChat, with the roles human, gpt, function_call and
// observation; the system prompt may stand beside the conversation.
var ShareGPT = register(&Format{
	Name:     "sharegpt",
	Fields:   `"conversations" [{"from", "value"}][, "system", "tools"]`,
	Priority: 90,
	Match:    func(r *Record) bool { return r.Has("conversations") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		v, _ := r.Get("conversations")
		msgs, err := parseMessages(r, "conversations", v)
		if err != nil {
			return err
		}
		system, err := r.Text("system")
		if err != nil {
			return err
		}
		if system != "" {
			msgs = append([]Message{{Role: System, Content: system}}, msgs...)
		}
		tools, err := parseTools(r, "tools")
		if err != nil {
			return err
		}
		add(Example{Source: r.Source, Kind: KindMessages, Messages: msgs, Tools: tools})
		return nil
	},
})
