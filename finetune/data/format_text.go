package data

// Text is raw text for continued pre-training: plain text files, or rows with a text field.
var Text = register(&Format{
	Name:     "text",
	Fields:   `"text"; or a plain text file`,
	Priority: 10,
	Match:    func(r *Record) bool { return r.document != nil || r.Has("text") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		e := Example{Source: r.Source, Kind: KindText, Continues: r.continues, Continued: r.continued}
		if r.document != nil {
			e.Text = *r.document
			add(e)
			return nil
		}
		text, err := r.Text("text")
		if err != nil {
			return err
		}
		e.Text = text
		add(e)
		return nil
	},
})
