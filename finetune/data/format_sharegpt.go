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
		return addConversation(r, msgs, add)
	},
})

// conversation reads the turns of "conversations" or "messages".
func conversation(r *Record) ([]Message, error) {
	field := "conversations"
	if !r.Has(field) {
		field = "messages"
	}
	return parseMessages(r, field)
}
