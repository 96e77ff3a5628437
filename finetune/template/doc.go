// Package template renders conversations with Jinja chat templates into text spans, each of which knows whether it is
// trained on. It knows no dataset and no token.
//
//	Find(name, the model's own)             a file, a built-in one (builtin_*.go), or the model's   (find.go)
//	Parse: try it on small conversations    how does it want tool calls, empty content, …?          (probe.go)
//	Render(conversation):                   (template.go)
//	    mark every string of the messages with its origin, and run the template (internal/jinja)
//	    the pieces that come out say who wrote them: a message's words, or the template             (mask.go)
//	    an assistant's words, and the end of turn behind them, are trained on, as the mask asks
//	    what cannot be told for certain is an error, never a guess
package template
