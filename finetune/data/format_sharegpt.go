package data

// ShareGPT is the format of the ShareGPT collections and of FastChat, with the roles human, gpt, function_call and
// observation; the system prompt may stand beside the conversation.
var ShareGPT = register(&Format{
	Name:     "sharegpt",
	Fields:   `"conversations" [{"from", "value"}][, "system", "tools"]`,
	Priority: 90,
	Match:    func(r *Record) bool { return r.Has("conversations") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		msgs, err := conversation(r)
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

// conversation reads the turns of "conversations" or "messages", and the system prompt beside them.
func conversation(r *Record) ([]Message, error) {
	field := "conversations"
	if !r.Has(field) {
		field = "messages"
	}
	v, _ := r.Get(field)
	msgs, err := parseMessages(r, field, v)
	if err != nil {
		return nil, err
	}
	system, err := systemTurn(r)
	return append(system, msgs...), err
}
