package template

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ggtune/ggtune/internal/regular"
)

// ownPrefix begins the name of a template that a model brings.
const ownPrefix = "built into "

// IsModelsOwn says whether a template of that name is one that a model brings.
func IsModelsOwn(name string) bool { return strings.HasPrefix(name, ownPrefix) }

// Find gives the template a user means: the built-in one or the file called name; or, where name is "", own, which
// model brings; or, where that is "" too, the fallback, and then note says so.
func Find(name, own, model string) (t *Template, note string, err error) {
	switch {
	case name != "":
		t, err = named(name)
	case own != "":
		t, err = Parse(own, ownPrefix+model)
	default:
		t, err = Builtin(Fallback)
		note = fmt.Sprintf("%s has no chat template; %q stands in for it (--template names another)", model, Fallback)
	}
	return t, note, err
}

// ParseOwn parses a further template that a model brings under a name of its own.
func ParseOwn(source, model, name string) (*Template, error) {
	return Parse(source, ownPrefix+model+" ("+name+")")
}

// named is a built-in template, or one in a file.
func named(name string) (*Template, error) {
	t, err := Builtin(name)
	if err == nil {
		return t, nil
	}
	const most = 1 << 20 // bytes; published templates have 20,000 at most
	source, readErr := regular.Read(name, most)
	switch {
	case errors.Is(readErr, fs.ErrNotExist):
		return nil, fmt.Errorf("%w; nor is there a file of that name", err)
	case readErr != nil:
		return nil, fmt.Errorf("chat template: %w", readErr)
	}
	return Parse(string(source), name)
}
