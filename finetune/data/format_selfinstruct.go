package data

// SelfInstruct is the format of Self-Instruct's seed and user-oriented tasks (Wang et al. 2023): an instruction with
// instances, each an example of its own.
var SelfInstruct = register(&Format{
	Name:     "self-instruct",
	Fields:   `"instruction", "instances" [{"input", "output"}]`,
	Priority: 85,
	Match:    func(r *Record) bool { return r.Has("instruction", "instances") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		items, err := r.list("instances", "{\"input\", \"output\"}")
		if err != nil {
			return err
		}
		instruction, _ := r.Get("instruction")
		for i, item := range items {
			fields, err := parseObject(item)
			if err != nil {
				return r.errorf("field \"instances\", instance %d: %v", i+1, err)
			}
			row := r.inner("instances[]", append([]Field{{Name: "instruction", Value: instruction}}, fields...))
			row.Source.Sub = i + 1
			if !row.Has("output") {
				return row.errorf("an instance has the fields %s; expected \"input\" and \"output\"",
					quoted(row.Names()[1:]))
			}
			if err := Alpaca.Examples(row, o, add); err != nil {
				return err
			}
			row.end()
		}
		return nil
	},
})
