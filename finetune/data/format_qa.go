package data

// questionAnswer pairs the field names of a question with those of its answer. Unlike prompt and completion they say
// nothing of how the two are joined, so a row is a conversation of two turns and the template joins them.
var questionAnswer = [][2]string{
	{"question", "answer"}, {"query", "response"}, {"prompt", "response"}, {"query", "answer"},
	{"question", "response"},
	{"problem", "solution"}, {"input", "output"},
}

// QA is rows of a question and its answer, under the names datasets use for them.
var QA = register(&Format{
	Name:     "qa",
	Fields:   `"question", "answer"; also query/response, prompt/response, problem/solution, input/output[; "system"]`,
	Priority: 60,
	Match:    func(r *Record) bool { _, ok := qaFields(r); return ok },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		names, _ := qaFields(r)
		question, err := r.Text(names[0])
		if err != nil {
			return err
		}
		answer, err := r.Text(names[1])
		if err != nil {
			return err
		}
		return addConversation(r, []Message{{Role: User, Content: question}, {Role: Assistant, Content: answer}}, add)
	},
})

func qaFields(r *Record) ([2]string, bool) {
	for _, names := range questionAnswer {
		if r.Has(names[0], names[1]) {
			return names, true
		}
	}
	return [2]string{}, false
}
