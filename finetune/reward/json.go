package reward

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ggtune/ggtune/internal/regular"
)

// JSON looks for a JSON value, of a schema if there is one.
var JSON = register(&Kind{
	Name: "json",
	Arg:  "SCHEMA.json",
	Usage: "1 where the answer is a JSON object or list, alone or in a ``` block, and valid by the JSON Schema in " +
		"the file, else 0",
	Check: true,
	Open: func(arg string, _ *Options) (Reward, error) {
		var schema *jsonschema.Schema
		if arg != "" {
			var err error
			if schema, err = readSchema(arg); err != nil {
				return nil, err
			}
		}
		return each(func(s *Sample) (float64, error) { return truth(holdsJSON(s.Answer, schema)), nil }), nil
	},
})

// mostSchema bounds a schema's file, bytes.
const mostSchema = 16 << 20

// readSchema reads a schema that stands in one file: it can refer to its own parts and to nothing else.
func readSchema(path string) (*jsonschema.Schema, error) {
	b, err := regular.Read(path, mostSchema)
	if err != nil {
		return nil, err
	}
	return compileSchema(path, string(b))
}

func compileSchema(path, text string) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: malformed JSON: %w", path, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // none: what a stranger's schema names is not read
	name := filepath.Base(path)
	if err := c.AddResource(name, doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s, err := c.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: it is no JSON Schema that stands alone: %w", path, err)
	}
	return s, nil
}

// holdsJSON says whether a text is one JSON object or list, which a ``` block may hold, and valid by the schema.
func holdsJSON(text string, schema *jsonschema.Schema) bool {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "```"); ok {
		inner, ok := strings.CutSuffix(rest, "```")
		if !ok {
			return false
		}
		text = strings.TrimSpace(strings.TrimPrefix(inner, "json"))
	}
	return text != "" && (text[0] == '{' || text[0] == '[') && json.Valid([]byte(text)) && valid(text, schema)
}

// valid says whether a JSON value is valid by a schema; by none each is.
func valid(text string, schema *jsonschema.Schema) bool {
	if schema == nil {
		return true
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	return err == nil && inRange(v) && schema.Validate(v) == nil
}

// inRange says whether all numbers of a value are some that a double can hold: of others (1e999999999) jsonschema
// v6.0.3 makes none, and falls over that.
func inRange(v any) bool {
	switch v := v.(type) {
	case json.Number:
		x, err := v.Float64()
		digits, _, _ := strings.Cut(strings.ToLower(v.String()), "e")
		return err == nil && (x != 0 || !strings.ContainsAny(digits, "123456789"))
	case []any:
		return !slices.ContainsFunc(v, func(x any) bool { return !inRange(x) })
	case map[string]any:
		for _, x := range v {
			if !inRange(x) {
				return false
			}
		}
	}
	return true
}
