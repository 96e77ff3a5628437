package template

import "github.com/ggtune/ggtune/internal/registry"

// builtins are the named templates for models that bring none, one file each.
var builtins = registry.New[string]("chat template")

// register adds a built-in template; its text is parsed by the conformance test and when it is asked for.
func register(name, source string) string { return builtins.Register(name, source) }

// Names lists the built-in templates.
func Names() []string { return builtins.Names() }

// Fallback is the name of the built-in template for a model without one: the plainest, whose marks are ordinary text
// that every vocabulary has.
const Fallback = "plain"

// Builtin parses the built-in template of that name. An unknown name lists the known ones.
func Builtin(name string) (*Template, error) {
	source, err := builtins.Get(name)
	if err != nil {
		return nil, err
	}
	return Parse(source, name)
}
