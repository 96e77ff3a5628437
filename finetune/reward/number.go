package reward

// Number compares numbers.
var Number = register(&Kind{
	Name: "number",
	Arg:  "MARKER",
	Usage: `1 where the answer's number is the right one, else 0: the first behind ####, the one in the last ` +
		`\boxed{}, or the last; with MARKER only in the line behind the last MARKER`,
	Check: true,
	Open:  func(arg string, o *Options) (Reward, error) { return newCompared("number", arg, o) },
})
