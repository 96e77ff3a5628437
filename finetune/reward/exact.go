package reward

// Exact compares texts.
var Exact = register(&Kind{
	Name: "exact",
	Arg:  "MARKER",
	Usage: `1 where the answer is the right one (white space aside), else 0; with MARKER the line behind the last ` +
		`MARKER, with \boxed what the last box holds`,
	Check: true,
	Open:  func(arg string, o *Options) (Reward, error) { return newCompared("exact", arg, o) },
})
