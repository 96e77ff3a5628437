package data

// MessagesPreference is pairs of whole conversations, LLaMA-Factory's second version: the prompt is what both begin
// with.
var MessagesPreference = register(&Format{
	Name: "messages-preference",
	Fields: `"chosen_messages", "rejected_messages": two lists of messages that begin with the same prompt[, ` +
		`"tools"]`,
	Priority:   60,
	Preference: true,
	Match:      func(r *Record) bool { return r.Has("chosen_messages", "rejected_messages") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		return addImplicit(r, o, "chosen_messages", "rejected_messages", add)
	},
})
