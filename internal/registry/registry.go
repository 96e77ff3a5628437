// Package registry maps names to values of one kind, such as methods or formats, and answers an unknown name with the
// known ones. It does not know what it holds.
package registry

import (
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"
)

// A Registry holds the values of one kind by name. It is filled by package-level variables and safe for concurrent use.
type Registry[T any] struct {
	kind string
	mu   sync.RWMutex
	m    map[string]T
}

// New makes a registry. kind is the noun used in messages: "method", "data format".
func New[T any](kind string) *Registry[T] {
	return &Registry[T]{kind: kind, m: map[string]T{}}
}

// Register adds a value and returns it, so that a package-level variable can hold it. It panics on an empty or a taken
// name: two files claim one name, which no input can cause.
func (r *Registry[T]) Register(name string, v T) T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == "" {
		panic(fmt.Sprintf("registry: %s with an empty name", r.kind))
	}
	if _, ok := r.m[name]; ok {
		panic(fmt.Sprintf("registry: %s %q is registered twice", r.kind, name))
	}
	r.m[name] = v
	return v
}

// Get finds a value by its exact name. The error is an *UnknownError.
func (r *Registry[T]) Get(name string) (T, error) {
	r.mu.RLock()
	v, ok := r.m[name]
	r.mu.RUnlock()
	if !ok {
		return v, &UnknownError{Kind: r.kind, Name: name, Known: r.Names()}
	}
	return v, nil
}

// Names lists the registered names, sorted.
func (r *Registry[T]) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(r.m))
	for name := range r.m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// All lists the values in the order of Names.
func (r *Registry[T]) All() []T {
	names := r.Names()
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]T, len(names))
	for i, name := range names {
		out[i] = r.m[name]
	}
	return out
}

// UnknownError says that a name is not among the known ones. Callers outside a registry (options, configuration keys)
// make it too, so that all unknown names read alike.
type UnknownError struct {
	Kind  string // "method", "option", "key of run.toml"
	Name  string
	Known []string
}

func (e *UnknownError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "unknown %s %q", e.Kind, e.Name)
	if near, ok := Nearest(e.Name, e.Known); ok {
		fmt.Fprintf(&b, "; nearest: %q", near)
	}
	if len(e.Known) == 0 {
		b.WriteString("; there are none")
	} else {
		fmt.Fprintf(&b, "; known: %s", strings.Join(e.Known, ", "))
	}
	return b.String()
}

// marks are what tools part the words of a name with.
var marks = strings.NewReplacer("-", "", "_", "", ".", "")

func fold(name string) string { return marks.Replace(strings.ToLower(name)) }

// Same says whether two names differ in nothing but letters' case and the marks - _ .
func Same(a, b string) bool { return fold(a) == fold(b) }

// Nearest finds the candidate that a misspelt name most likely means: the one with the smallest edit distance, letters'
// case and the marks - _ . set aside, or else one that begins with name. ok is false if none is near: more than a
// quarter of the longer one's letters, or of three letters more than one, would have to change.
func Nearest(name string, candidates []string) (nearest string, ok bool) {
	key := fold(name)
	if key == "" {
		return "", false
	}
	best := -1
	for _, c := range candidates {
		ck := fold(c)
		d := distance(key, ck)
		if n := max(len([]rune(key)), len([]rune(ck))); 3*d > n || d > max(1, n/4) {
			continue
		}
		if best < 0 || d < best {
			best, nearest = d, c
		}
	}
	if best >= 0 {
		return nearest, true
	}
	for _, c := range candidates {
		// An abbreviation; two letters would match too much.
		if len(key) > 2 && strings.HasPrefix(fold(c), key) {
			return c, true
		}
	}
	return "", false
}

// distance is the edit distance in letters, with two neighbours swapped, the commonest slip, as one edit.
func distance(a, b string) int {
	d := levenshtein.ComputeDistance(a, b)
	ra, rb := []rune(a), []rune(b)
	if d != 2 || len(ra) != len(rb) {
		return d
	}
	for i := range ra {
		if ra[i] != rb[i] {
			if i+1 < len(ra) && ra[i] == rb[i+1] && ra[i+1] == rb[i] {
				return 1
			}
			return d
		}
	}
	return d
}
